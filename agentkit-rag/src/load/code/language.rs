//! How the definitions of each language begin.

/// The file name extensions of the languages that are known.
pub(super) const EXTENSIONS: &[&str] = &[
    "rs", "py", "pyi", "js", "jsx", "mjs", "cjs", "ts", "tsx", "java", "kt", "kts", "scala", "go", "c", "h",
    "cc", "cpp", "cxx", "hh", "hpp", "cs", "rb", "php", "swift", "sh", "bash", "lua", "sql",
];

/// What is to be known of a language to find its definitions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Language {
    /// Words that begin a definition.
    pub(super) keywords: &'static [&'static str],
    /// Words that may stand before them.
    pub(super) modifiers: &'static [&'static str],
    /// Whether functions may be defined without a keyword, by a name, parameters and a brace.
    pub(super) by_braces: bool,
}

const RUST: Language = Language {
    keywords: &["fn", "struct", "enum", "union", "trait", "impl", "mod", "macro_rules!"],
    modifiers: &["pub", "async", "const", "unsafe", "extern", "default", "crate", "auto"],
    by_braces: false,
};
const PYTHON: Language = Language { keywords: &["def", "class"], modifiers: &["async"], by_braces: false };
const SCRIPT: Language = Language {
    keywords: &["function", "class", "interface", "enum", "namespace", "module", "function*"],
    modifiers: &[
        "export",
        "default",
        "async",
        "abstract",
        "declare",
        "const",
        "public",
        "private",
        "protected",
        "static",
    ],
    by_braces: true,
};
const GO: Language = Language { keywords: &["func", "type"], modifiers: &[], by_braces: false };
const C_FAMILY: Language = Language {
    keywords: &["class", "struct", "enum", "union", "namespace", "interface", "record", "@interface"],
    modifiers: &[
        "public",
        "private",
        "protected",
        "internal",
        "static",
        "final",
        "abstract",
        "sealed",
        "partial",
        "typedef",
        "inline",
        "extern",
        "virtual",
        "readonly",
        "unsafe",
        "async",
        "template",
    ],
    by_braces: true,
};
const KOTLIN_SWIFT_SCALA: Language = Language {
    keywords: &[
        "fun",
        "func",
        "def",
        "class",
        "object",
        "interface",
        "struct",
        "enum",
        "protocol",
        "extension",
        "trait",
        "init",
        "actor",
    ],
    modifiers: &[
        "public",
        "private",
        "protected",
        "internal",
        "open",
        "final",
        "abstract",
        "sealed",
        "data",
        "inline",
        "override",
        "suspend",
        "companion",
        "static",
        "mutating",
        "fileprivate",
        "case",
        "implicit",
        "lazy",
        "operator",
        "required",
        "convenience",
        "async",
        "annotation",
        "inner",
        "value",
    ],
    by_braces: false,
};
const RUBY: Language =
    Language { keywords: &["def", "class", "module"], modifiers: &["private"], by_braces: false };
const PHP: Language = Language {
    keywords: &["function", "class", "interface", "trait", "enum", "namespace"],
    modifiers: &["public", "private", "protected", "static", "final", "abstract", "readonly"],
    by_braces: false,
};
const SHELL: Language = Language { keywords: &["function"], modifiers: &["local"], by_braces: true };
const SQL: Language = Language { keywords: &["create", "CREATE"], modifiers: &[], by_braces: false };

impl Language {
    /// The language of files with this extension.
    pub(super) fn of(extension: &str) -> Self {
        match extension.to_ascii_lowercase().as_str() {
            "rs" => RUST,
            "py" | "pyi" => PYTHON,
            "js" | "jsx" | "mjs" | "cjs" | "ts" | "tsx" => SCRIPT,
            "go" => GO,
            "kt" | "kts" | "scala" | "swift" => KOTLIN_SWIFT_SCALA,
            "rb" => RUBY,
            "php" | "lua" => PHP,
            "sh" | "bash" => SHELL,
            "sql" => SQL,
            _ => C_FAMILY,
        }
    }
}
