//! What is found in source files of each language.

use agentkit_core::DocumentId;

use super::*;

fn load(name: &str, code: &str) -> SourceDocument {
    CodeLoader.load(&RawFile::new(DocumentId::new(name).unwrap(), code.as_bytes())).unwrap()
}

/// Level and title of each definition.
fn outline_of(name: &str, code: &str) -> Vec<String> {
    load(name, code).headings.iter().map(|heading| format!("{} {}", heading.level, heading.title)).collect()
}

#[test]
fn definitions_of_the_common_languages_are_found_with_what_they_stand_in() {
    for (name, code, expected) in [
        (
            "a.rs",
            "use std::fmt;\n\npub(crate) struct Tea {\n    fn_count: u8,\n}\n\nimpl<T: Into<String>> From<T> for Tea {\n    pub async unsafe extern \"C\" fn brew(&self) -> u8 {\n        let fnord = 1;\n        0\n    }\n}\n\n#[cfg(test)]\nmod tests {\n    #[test]\n    fn it() {}\n}\n",
            &[
                "1 struct Tea",
                "1 impl<T: Into<String>> From<T> for Tea",
                "2 fn brew",
                "1 mod tests",
                "2 fn it",
            ][..],
        ),
        (
            "a.py",
            "class Tea(Drink):\n    \"\"\"Has a\n    def no_method():\n    \"\"\"\n\n    async def brew(self):\n        def inner():\n            pass\n\ndef main():\n    pass\n",
            &["1 class Tea", "2 def brew", "3 def inner", "1 def main"],
        ),
        (
            "a.ts",
            "export default class Tea {\n  constructor(private kind: string) {\n    if (kind) {\n    }\n  }\n  async brew(): Promise<void> {\n  }\n}\nexport const steep = async (time: number) => {\n};\nfunction* all() {\n}\n",
            &["1 class Tea", "2 constructor", "2 async brew", "1 export const steep", "1 function* all"],
        ),
        (
            "a.go",
            "package tea\n\ntype Tea struct {\n}\n\nfunc (t *Tea) Brew(n int) error {\n\treturn nil\n}\n\nfunc main() {\n}\n",
            &["1 type Tea struct", "1 func (t *Tea) Brew", "1 func main"],
        ),
        (
            "A.java",
            "package a;\n/**\n * Tea.\n */\n@Entity\npublic final class Tea<T> extends Drink {\n    private int n = 0;\n    @Override\n    public void brew(int n) throws Cold {\n        for (int i = 0; i < n; i++) {\n        }\n        steep(n);\n    }\n}\n",
            &["1 class Tea", "2 public void brew"],
        ),
        (
            "a.cpp",
            "#include <tea>\nnamespace tea {\ntemplate <typename T>\nstruct Leaf {\n  int n;\n};\nstatic int brew(int n) {\n  while (n) {\n  }\n}\n}\nint main(int argc, char** argv) {\n}\n",
            &["1 namespace tea", "1 struct Leaf", "1 static int brew", "1 int main"],
        ),
        (
            "a.rb",
            "module Tea\n  class Leaf\n    def brew\n    end\n  end\nend\n",
            &["1 module Tea", "2 class Leaf", "3 def brew"],
        ),
        ("a.kt", "data class Tea(val n: Int)\nsuspend fun brew() {\n}\n", &["1 class Tea", "1 fun brew"]),
        ("a.sh", "#!/bin/sh\nbrew() {\n  if [ x ]; then\n  fi\n}\n", &["1 brew"]),
    ] {
        assert_eq!(outline_of(name, code), expected, "{name}");
    }
}

#[test]
fn a_definition_begins_with_what_is_said_about_it() {
    let code = "//! A file.\n\n// About nothing.\n\n/// Adds.\n/// Well.\n#[inline]\nfn add() {}\n\n/* Takes\n   away. */\nfn sub() {}\n";
    let document = load("a.rs", code);
    let begins: Vec<&str> =
        document.headings.iter().map(|heading| code[heading.offset..].lines().next().unwrap()).collect();
    assert_eq!(begins, ["/// Adds.", "/* Takes"]);
    assert_eq!(document.kind, SourceKind::Code);
}

#[test]
fn hostile_code_is_only_text() {
    for code in [
        "fn",
        "fn (",
        "pub(",
        "pub(((((",
        "class",
        "/*",
        "\"\"\"",
        "def é(",
        "func (",
        "extern \"",
        "{{{{",
        "(\n)\n{\n",
    ] {
        for name in ["a.rs", "a.py", "a.js", "a.go", "a.c", "a.sql", "noname"] {
            assert_eq!(load(name, code).source_text, code);
        }
    }
    let long = format!("fn {}() {{\n", "x".repeat(100_000));
    assert_eq!(outline_of("a.rs", &long), Vec::<String>::new());
}
