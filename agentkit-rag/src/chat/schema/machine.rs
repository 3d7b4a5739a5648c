//! The machine that reads JSON byte by byte and knows what a schema allows next.
//!
//! A state is a stack of what has been begun. Where a schema leaves a choice there are several states side by side, and
//! a byte ends those that do not allow it. From every state some text leads to a whole value, except where a number has
//! no more digits to fall between narrow bounds, or a schema goes on without end.

use super::compile::{Id, Member, Node};
use super::number::Digits;

/// How deep values may stand within each other.
const MAX_STACK: usize = 128;
/// States that may be side by side.
const MAX_STATES: usize = 64;

/// What has been begun and is not over.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Frame {
    /// A value has to come, behind at most one space.
    Gap(Id),
    /// A value has to come.
    Value(Id),
    /// A word that begins like number `like` of its node.
    Word { node: Id, like: usize, length: usize },
    /// The inside of a string.
    Text { least: usize, most: usize, count: usize, inside: Inside },
    /// A number.
    Number { node: Id, digits: Digits },
    /// Behind item number `count`, or behind the bracket.
    List { node: Id, count: usize },
    /// Members from number `next` on may come.
    Record { node: Id, next: usize, at: At },
    /// Members of any name may come.
    Table { value: Id, at: At },
}

/// Where in a string.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Inside {
    Plain,
    Escape,
    /// So many more bytes of a character, the next of which is from `low` to `high`.
    Character {
        left: u8,
        low: u8,
        high: u8,
    },
}

/// Where among the members of an object.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum At {
    Start,
    /// Behind a comma.
    Comma,
    /// Behind a comma and a space.
    Space,
    /// In a name that begins like that of member `like`.
    Name {
        like: usize,
        length: usize,
    },
    /// Behind the name of a member.
    Colon {
        member: usize,
    },
    /// Behind a value.
    End,
}

/// A state, the innermost last; empty when the value is over.
pub(super) type Stack = Vec<Frame>;

/// What a frame makes of a byte.
enum Step {
    /// It took it, and these are on top now, the last innermost.
    Took([Option<Frame>; 2]),
    /// It is over or goes on as these, and the byte is for what is on top then.
    Passed([Option<Frame>; 2]),
    /// It goes on as any of these values.
    Split(Vec<Id>),
    Dead,
}

/// The nodes of a schema, to walk on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Machine<'n> {
    pub(super) nodes: &'n [Node],
}

impl<'n> Machine<'n> {
    /// The state before a value of node `root`.
    pub(super) fn start(root: Id) -> Vec<Stack> {
        vec![vec![Frame::Value(root)]]
    }

    /// The states behind `bytes`; none if they are not allowed.
    pub(super) fn read(self, states: &[Stack], bytes: &[u8]) -> Vec<Stack> {
        let Some((first, rest)) = bytes.split_first() else { return states.to_vec() };
        let mut now = self.step(states, *first);
        for byte in rest {
            if now.is_empty() {
                break;
            }
            now = self.step(&now, *byte);
        }
        now
    }

    fn step(self, states: &[Stack], byte: u8) -> Vec<Stack> {
        let mut out = Vec::new();
        for stack in states {
            self.advance(stack.clone(), byte, &mut out);
        }
        out
    }

    /// Whether the value is whole in some of the states.
    pub(super) fn may_end(self, states: &[Stack]) -> bool {
        states.iter().any(|stack| match stack.as_slice() {
            [] => true,
            [Frame::Number { node, digits }] => {
                self.nodes.get(*node).is_some_and(|node| digits.is_whole(node))
            }
            [Frame::Word { node, like, length }] => self.word_ends(*node, *like, *length),
            _ => false,
        })
    }

    fn advance(self, mut stack: Stack, byte: u8, out: &mut Vec<Stack>) {
        while let Some(frame) = stack.pop() {
            match self.feed(frame, byte) {
                Step::Dead => return,
                Step::Passed(frames) => stack.extend(frames.into_iter().flatten()),
                Step::Took(frames) => {
                    stack.extend(frames.into_iter().flatten());
                    if stack.len() <= MAX_STACK && out.len() < MAX_STATES && !out.contains(&stack) {
                        out.push(stack);
                    }
                    return;
                }
                Step::Split(ids) => {
                    for id in ids {
                        let mut own = stack.clone();
                        own.push(Frame::Value(id));
                        self.advance(own, byte, out);
                    }
                    return;
                }
            }
        }
    }

    fn feed(self, frame: Frame, byte: u8) -> Step {
        match frame {
            Frame::Gap(id) if byte == b' ' => Step::Took([Some(Frame::Value(id)), None]),
            Frame::Gap(id) => Step::Passed([Some(Frame::Value(id)), None]),
            Frame::Value(id) => self.value(id, byte),
            Frame::Word { node, like, length } => self.word(node, like, length, byte),
            Frame::Text { least, most, count, inside } => text(least, most, (count, inside), byte),
            Frame::Number { node, digits } => self.number(node, digits, byte),
            Frame::List { node, count } => self.list(node, count, byte),
            Frame::Record { node, next, at } => self.record(node, next, at, byte),
            Frame::Table { value, at } => table(value, at, byte),
        }
    }

    fn value(self, id: Id, byte: u8) -> Step {
        let one = |frame| Step::Took([Some(frame), None]);
        match self.nodes.get(id) {
            Some(Node::Either(ids)) => Step::Split(self.alternatives(ids)),
            Some(Node::Words(_)) => self.word(id, usize::MAX, 0, byte),
            Some(Node::Text { least, most }) if byte == b'"' => {
                one(Frame::Text { least: *least, most: *most, count: 0, inside: Inside::Plain })
            }
            Some(Node::Whole { .. } | Node::Decimal { .. }) => self.number(id, Digits::default(), byte),
            Some(Node::List { .. }) if byte == b'[' => one(Frame::List { node: id, count: 0 }),
            Some(Node::Record(_)) if byte == b'{' => one(Frame::Record { node: id, next: 0, at: At::Start }),
            Some(Node::Table { value }) if byte == b'{' => one(Frame::Table { value: *value, at: At::Start }),
            _ => Step::Dead,
        }
    }

    /// The nodes behind a choice and the choices in it, each once, so that one that refers to itself ends.
    fn alternatives(self, ids: &[Id]) -> Vec<Id> {
        let (mut seen, mut todo, mut found) = (ids.to_vec(), ids.to_vec(), Vec::new());
        while let Some(id) = todo.pop() {
            if let Some(Node::Either(more)) = self.nodes.get(id) {
                let new: Vec<Id> = more.iter().copied().filter(|id| !seen.contains(id)).collect();
                seen.extend(&new);
                todo.extend(new);
            } else {
                found.push(id);
            }
        }
        found
    }

    fn words(self, node: Id) -> &'n [Vec<u8>] {
        match self.nodes.get(node) {
            Some(Node::Words(words)) => words,
            _ => &[],
        }
    }

    /// The words that begin like the first `length` bytes of number `like`.
    fn alike(self, node: Id, like: usize, length: usize) -> Vec<(usize, Vec<u8>)> {
        let words = self.words(node);
        let begun = words.get(like).and_then(|word| word.get(..length)).unwrap_or_default();
        let alike = words.iter().enumerate().filter(|(_, word)| word.starts_with(begun));
        alike.map(|(at, word)| (at, word.get(length..).unwrap_or_default().to_vec())).collect()
    }

    fn word_ends(self, node: Id, like: usize, length: usize) -> bool {
        self.alike(node, like, length).iter().any(|(_, rest)| rest.is_empty())
    }

    fn word(self, node: Id, like: usize, length: usize, byte: u8) -> Step {
        let alike = self.alike(node, like, length);
        let mut going = alike.iter().filter(|(_, rest)| rest.first() == Some(&byte));
        match (going.next(), going.next()) {
            (Some((_, rest)), None) if rest.len() == 1 => Step::Took([None, None]),
            (Some((at, _)), _) => {
                Step::Took([Some(Frame::Word { node, like: *at, length: length + 1 }), None])
            }
            (None, _) if alike.iter().any(|(_, rest)| rest.is_empty()) => Step::Passed([None, None]),
            (None, _) => Step::Dead,
        }
    }

    fn number(self, node: Id, digits: Digits, byte: u8) -> Step {
        let Some(rule) = self.nodes.get(node) else { return Step::Dead };
        match digits.push(byte, rule) {
            Some(digits) => Step::Took([Some(Frame::Number { node, digits }), None]),
            None if digits.is_whole(rule) => Step::Passed([None, None]),
            None => Step::Dead,
        }
    }

    fn list(self, node: Id, count: usize, byte: u8) -> Step {
        let Some(Node::List { item, least, most }) = self.nodes.get(node) else { return Step::Dead };
        let next = Frame::List { node, count: count + 1 };
        match (byte, item) {
            (b']', _) if count >= *least => Step::Took([None, None]),
            (b',', Some(item)) if count > 0 && count < *most => {
                Step::Took([Some(next), Some(Frame::Gap(*item))])
            }
            (_, Some(item)) if count == 0 && *most > 0 => {
                Step::Passed([Some(next), Some(Frame::Value(*item))])
            }
            _ => Step::Dead,
        }
    }

    fn record(self, node: Id, next: usize, at: At, byte: u8) -> Step {
        let Some(Node::Record(members)) = self.nodes.get(node) else { return Step::Dead };
        let stay = |at| Step::Took([Some(Frame::Record { node, next, at }), None]);
        let whole = members.iter().skip(next).all(|member| !member.required);
        match (at, byte) {
            (At::Start | At::End, b'}') if whole => Step::Took([None, None]),
            (At::End, b',') if next < members.len() => stay(At::Comma),
            (At::Comma, b' ') => stay(At::Space),
            (At::Start | At::Comma | At::Space, _) => {
                name(members, next, None, byte).map_or(Step::Dead, stay)
            }
            (At::Name { like, length }, _) => {
                name(members, next, Some((like, length)), byte).map_or(Step::Dead, stay)
            }
            (At::Colon { member }, b':') => {
                let record = Frame::Record { node, next: member + 1, at: At::End };
                let value = members.get(member).map(|member| Frame::Gap(member.value));
                Step::Took([Some(record), value])
            }
            _ => Step::Dead,
        }
    }
}

/// Where a byte of a name leads, of those that may come from member `next` on: up to the first required one.
fn name(members: &[Member], next: usize, begun: Option<(usize, usize)>, byte: u8) -> Option<At> {
    let last = members
        .iter()
        .skip(next)
        .position(|member| member.required)
        .map_or(members.len(), |at| next + at + 1);
    let (like, length) = begun.unwrap_or((next, 0));
    let prefix = members.get(like)?.name.get(..length)?;
    let mut fits = members
        .iter()
        .enumerate()
        .take(last)
        .skip(next)
        .filter(|(_, member)| member.name.starts_with(prefix) && member.name.get(length) == Some(&byte));
    let (at, member) = fits.next()?;
    let over = member.name.len() == length + 1;
    Some(if over { At::Colon { member: at } } else { At::Name { like: at, length: length + 1 } })
}

fn table(value: Id, at: At, byte: u8) -> Step {
    let stay = |at| Some(Frame::Table { value, at });
    let name = Frame::Text { least: 0, most: usize::MAX, count: 0, inside: Inside::Plain };
    match (at, byte) {
        (At::Start | At::End, b'}') => Step::Took([None, None]),
        (At::End, b',') => Step::Took([stay(At::Comma), None]),
        (At::Comma, b' ') => Step::Took([stay(At::Space), None]),
        (At::Start | At::Comma | At::Space, b'"') => Step::Took([stay(At::Colon { member: 0 }), Some(name)]),
        (At::Colon { .. }, b':') => Step::Took([stay(At::End), Some(Frame::Gap(value))]),
        _ => Step::Dead,
    }
}

fn text(least: usize, most: usize, (count, inside): (usize, Inside), byte: u8) -> Step {
    let go = |count, inside| Step::Took([Some(Frame::Text { least, most, count, inside }), None]);
    match inside {
        Inside::Plain if byte == b'"' && count >= least => Step::Took([None, None]),
        Inside::Plain if byte < b' ' || byte == b'"' || count >= most => Step::Dead,
        Inside::Plain if byte == b'\\' => go(count, Inside::Escape),
        Inside::Plain if byte < 0x80 => go(count + 1, Inside::Plain),
        Inside::Plain => character(byte).map_or(Step::Dead, |inside| go(count, inside)),
        Inside::Escape if b"\"\\/bfnrt".contains(&byte) => go(count + 1, Inside::Plain),
        Inside::Character { left: 1, low, high } if (low..=high).contains(&byte) => {
            go(count + 1, Inside::Plain)
        }
        Inside::Character { left, low, high } if (low..=high).contains(&byte) => {
            go(count, Inside::Character { left: left - 1, low: 0x80, high: 0xbf })
        }
        _ => Step::Dead,
    }
}

/// What follows the first byte of a character, by the table of well-formed UTF-8 in the Unicode standard.
fn character(first: u8) -> Option<Inside> {
    let (left, low, high) = match first {
        0xc2..=0xdf => (1, 0x80, 0xbf),
        0xe0 => (2, 0xa0, 0xbf),
        0xed => (2, 0x80, 0x9f),
        0xe1..=0xef => (2, 0x80, 0xbf),
        0xf0 => (3, 0x90, 0xbf),
        0xf1..=0xf3 => (3, 0x80, 0xbf),
        0xf4 => (3, 0x80, 0x8f),
        _ => return None,
    };
    Some(Inside::Character { left, low, high })
}
