//! No setting changes nothing: each of the catalogue is read somewhere outside of `config`.

use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

use super::{Module, code_of, root, sources};

#[test]
fn every_setting_is_read_where_it_changes_something() {
    let sections = Sections::read();
    let readers: Vec<String> = sources().iter().filter(|it| changes_something(it)).map(|it| code_of(it)).collect();
    let readers: Vec<Vec<&str>> = readers.iter().filter(|it| knows_settings(it)).map(|it| tokens(it)).collect();

    let catalog = code_of(&root().join("config/catalog.rs"));
    let names = pattern(r#"Setting::(?:new|secret)\(\s*"(\w+)""#);
    let names: Vec<&str> = names.captures_iter(&catalog).map(|found| found.extract::<1>().1[0]).collect();
    let unread: Vec<&&str> =
        names.iter().filter(|name| !readers.iter().any(|code| sections.are_read_in(name, code))).collect();

    assert!(names.contains(&"HOST") && names.contains(&"DEFAULT_DOMAIN_NAME_FOR_APPS"), "the catalogue is understood");
    assert!(unread.is_empty(), "nothing outside `config` reads the field whose comment begins so: {unread:?}");
}

#[test]
fn a_setting_is_read_by_a_path_a_binding_or_a_parameter_of_its_section() {
    let sections = Sections::parse(
        "pub struct Settings {\n    /// Text.\n    pub llm: Llm,\n}\npub struct Llm {\n    /// `LLM_MODEL`; more.\n    /// And more.\n    \
         pub model: Option<String>,\n    /// `LLM_KEY` and what belongs to it.\n    pub keys: Option<Keys>,\n}\npub struct Keys {\n    \
         /// `LLM_KEY`.\n    pub key: String,\n}\n",
    );
    let reads = |name: &str, code: &str| sections.are_read_in(name, &tokens(code));

    assert!(reads("LLM_MODEL", "cx.settings.llm.model.clone()"));
    assert!(reads("LLM_MODEL", "let settings = &cx.settings.llm;\nsettings\n    .model"));
    assert!(reads("LLM_MODEL", "fn f(it: &section::Llm) { it.model }"));
    assert!(!reads("LLM_MODEL", "fn f(it: &section::Llm, other: &Other) { other.model; it.model(); it.models }"));
    assert!(!reads("LLM_MODEL", "let it = &cx.settings.other; it.model; let llm = 1; model"));
    assert!(reads("LLM_KEY", "fn f(it: &Keys) { it.key }") && !reads("LLM_KEY", "settings.llm.keys"));
}

/// The sections of the settings: by the comment of each field, which setting it holds.
struct Sections {
    /// Each setting with the section and the field that hold it.
    fields: Vec<(String, String, String)>,
    /// Each section with the field that holds it.
    holders: Vec<(String, String)>,
}

impl Sections {
    fn read() -> Self {
        let holds_sections = |source: &PathBuf| {
            let module = Module::of(source).0;
            module == "config" || module.starts_with("config::section")
        };
        let texts =
            sources().into_iter().filter(holds_sections).map(|it| fs::read_to_string(it).expect("it can be read"));
        Self::parse(&texts.collect::<String>())
    }

    fn parse(text: &str) -> Self {
        let structs = pattern(r"(?s)pub struct (\w+) \{\n(.*?)\n\}");
        let field = pattern(r"(?m)^ +/// (?:`([A-Z0-9_]+)`)?[^\n]*\n(?: +///[^\n]*\n)* +pub (\w+): (?:Option<)?(\w+)");
        let structs: Vec<(&str, &str)> =
            structs.captures_iter(text).map(|found| found.extract()).map(|(_, [name, body])| (name, body)).collect();
        let is_section = |name: &str| structs.iter().any(|(section, _)| *section == name);
        let (mut fields, mut holders) = (vec![], vec![]);
        for (section, body) in &structs {
            for found in field.captures_iter(body) {
                let (name, kind) = (found[2].to_owned(), found[3].to_owned());
                if is_section(&kind) {
                    holders.push((kind, name));
                } else if let Some(setting) = found.get(1) {
                    fields.push((setting.as_str().to_owned(), (*section).to_owned(), name));
                }
            }
        }
        Self { fields, holders }
    }

    /// Whether code reads the field of a setting: as `section.field`, by a binding of the section, or by a parameter of
    /// its type. A method of that name is something else.
    fn are_read_in(&self, setting: &str, code: &[&str]) -> bool {
        let reads = |(_, section, field): &(String, String, String)| {
            let holders: Vec<&str> =
                self.holders.iter().filter(|(kind, _)| kind == section).map(|(_, name)| name.as_str()).collect();
            let is_owner = |place: usize| {
                let name = code[place];
                holders.contains(&name)
                    || (0..code.len()).any(|at| {
                        parameter_of_type(code, at, section) == Some(name)
                            || binding_of(code, at, &holders) == Some(name)
                    })
            };
            let is_read =
                |at: &usize| code[*at..].starts_with(&[".", field.as_str()]) && code.get(at + 2) != Some(&"(");
            (1..code.len()).filter(is_read).any(|at| is_owner(at - 1))
        };
        self.fields.iter().filter(|(name, ..)| name == setting).any(reads)
    }
}

/// The parameter whose type ends here and is this one: `name: &path::Type`.
fn parameter_of_type<'a>(code: &[&'a str], at: usize, kind: &str) -> Option<&'a str> {
    let mut before = &code[..at];
    if code[at] != kind {
        return None;
    }
    while let [rest @ .., _, ":", ":"] = before {
        before = rest;
    }
    let before = before.strip_suffix(&["&"]).unwrap_or(before);
    if let [.., name, ":"] = before { Some(*name) } else { None }
}

/// The name that a section gets by the statement that ends here: `let name = &settings.section;`.
fn binding_of<'a>(code: &[&'a str], at: usize, holders: &[&str]) -> Option<&'a str> {
    if !holders.contains(&code[at]) || code.get(at + 1) != Some(&";") {
        return None;
    }
    let begin = code[..at].iter().rposition(|it| ["let", ";", "{"].contains(it))?;
    if let ["let", name, "=", ..] = &code[begin..at] { Some(*name) } else { None }
}

/// The names, numbers and signs of a code.
fn tokens(code: &str) -> Vec<&str> {
    let is_part = |it: char| it.is_alphanumeric() || it == '_';
    let mut tokens = vec![];
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let end = if is_part(first) { rest.find(|it| !is_part(it)).unwrap_or(rest.len()) } else { first.len_utf8() };
        tokens.push(&rest[..end]);
        rest = rest[end..].trim_start();
    }
    tokens
}

/// Whether reading a setting in this file can change what the program does; `doctor` only tells of settings, and the
/// redactor only hides them.
fn changes_something(source: &Path) -> bool {
    let module = Module::of(source).0;
    !["config", "cli::doctor", "secret::redactor"]
        .iter()
        .any(|it| module == *it || module.starts_with(&format!("{it}::")))
}

/// Whether a file may read settings; in others `server.port` is something else.
fn knows_settings(code: &str) -> bool {
    code.contains("ettings") || code.contains("config::section")
}

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("it is made of names")
}
