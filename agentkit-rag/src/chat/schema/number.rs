//! Numbers digit by digit: what has been written, and whether bounds can still be met.

use super::compile::Node;

/// Digits that a number may have, so that it survives in double precision.
const MAX_DIGITS: u32 = 16;

/// What has been written of a number.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Digits {
    negative: bool,
    /// The digits without the point.
    value: i64,
    /// How many there are.
    count: u32,
    /// How many of them stand behind the point, once there is one.
    behind: Option<u32>,
}

impl Digits {
    /// With `byte` behind it, if that may become a number that `rule` allows.
    pub(super) fn push(self, byte: u8, rule: &Node) -> Option<Self> {
        let next = match byte {
            b'-' if self == Self::default() => Self { negative: true, ..self },
            b'.' if self.may_have_point() && matches!(rule, Node::Decimal { .. }) => {
                Self { behind: Some(0), ..self }
            }
            b'0'..=b'9' if self.count < MAX_DIGITS && !self.is_lone_zero() => Self {
                value: self.value * 10 + i64::from(byte - b'0'),
                count: self.count + 1,
                behind: self.behind.map(|behind| behind + 1),
                ..self
            },
            _ => return None,
        };
        next.can_become(rule).then_some(next)
    }

    /// Whether it is a number that `rule` allows.
    pub(super) fn is_whole(self, rule: &Node) -> bool {
        if self.count == 0 || self.behind == Some(0) {
            return false;
        }
        match rule {
            // A negative zero is not a whole number to every reader.
            Node::Whole { least, most } => {
                (*least..=*most).contains(&self.signed()) && !(self.negative && self.value == 0)
            }
            Node::Decimal { least, most, open } => {
                let number = self.number(self.value);
                let above = if open.0 { number > *least } else { number >= *least };
                above && if open.1 { number < *most } else { number <= *most }
            }
            _ => false,
        }
    }

    /// A point needs a digit on both sides.
    fn may_have_point(self) -> bool {
        self.behind.is_none() && (1..MAX_DIGITS).contains(&self.count)
    }

    /// A zero before the point has no digit behind it.
    fn is_lone_zero(self) -> bool {
        self.count == 1 && self.value == 0 && self.behind.is_none()
    }

    fn signed(self) -> i64 {
        if self.negative { -self.value } else { self.value }
    }

    /// The number that is written with `value` as its digits, read as every reader reads it.
    fn number(self, value: i64) -> f64 {
        let sign = if self.negative { "-" } else { "" };
        format!("{sign}{value}e-{}", self.behind.unwrap_or(0)).parse().unwrap_or(f64::NAN)
    }

    /// Whether more digits can lead to a number that `rule` allows.
    fn can_become(self, rule: &Node) -> bool {
        match rule {
            Node::Whole { least, most } => self.reaches_whole(i128::from(*least), i128::from(*most)),
            Node::Decimal { least, most, open } => self.reaches((*least, *most), *open),
            _ => false,
        }
    }

    fn reaches_whole(self, least: i128, most: i128) -> bool {
        let (low, high) = if self.negative { ((-most).max(1), -least) } else { (least.max(0), most) };
        if self.count == 0 {
            return low <= high;
        }
        let more = if self.value == 0 { 0 } else { MAX_DIGITS - self.count };
        (0..=more).any(|more| {
            let (from, width) = (i128::from(self.value) * 10_i128.pow(more), 10_i128.pow(more));
            from <= high && from + width > low
        })
    }

    /// Whether the least number that begins like this is not too large and the largest not too small.
    fn reaches(self, (least, most): (f64, f64), open: (bool, bool)) -> bool {
        let (low, high, (above, below)) =
            if self.negative { (-most, -least, (open.1, open.0)) } else { (least, most, open) };
        if self.count == 0 {
            return high > 0.0;
        }
        let more = MAX_DIGITS - self.count;
        let before_point = if self.behind.is_some() || self.is_lone_zero() { 0 } else { more };
        let positive = Self { negative: false, ..self };
        let nines = self.value * 10_i64.pow(more) + 10_i64.pow(more) - 1;
        (0..=before_point).any(|before| {
            let from = positive.number(self.value * 10_i64.pow(before));
            let behind = self.behind.unwrap_or(0) + more - before;
            let largest = Self { behind: Some(behind), ..positive }.number(nines);
            (if below { from < high } else { from <= high })
                && if above { largest > low } else { largest >= low }
        })
    }
}
