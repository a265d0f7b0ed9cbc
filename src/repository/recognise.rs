//! What a clone without a Dockerfile is, and the Dockerfile that is made for it from `templates/dockerfile/`.
//!
//! The signs are those that the languages themselves use (`package.json`, `go.mod`, ...); nothing is run to find out.

mod foreign;
mod go;
mod java;
mod node;
mod page;
mod procfile;
mod python;
mod rust;
mod workspace;

use super::application::{Generated, Look, Recognised};
use super::builder::{BuilderChoice, ForeignBuild};
use super::error::RepositoryError;
use super::readme::RunHints;
use super::tree::Tree;
use crate::id::Port;
use crate::template;

pub(super) use workspace::{Place, place};

/// How a clone without a Dockerfile is built.
pub(super) enum Recognition {
    /// By a Dockerfile that was made; with sentences for the person.
    Dockerfile(Generated, Vec<String>),
    /// By a builder that others keep; with sentences for the person.
    Builder(ForeignBuild, Vec<String>),
    /// Not at all: what was seen, and what is missing, in sentences.
    Nothing(Vec<String>),
}

/// Takes a clone for the first kind whose signs it has.
///
/// A program comes before a page: an `index.html` beside a `package.json` that starts a server is that server's, and a
/// `package.json` that only builds the styles of a program in another language is that program's.
///
/// # Errors
/// [`RepositoryError::Template`] when the Dockerfile cannot be written.
pub(super) fn recognise(
    tree: &Tree,
    member: Option<&str>,
    hints: &RunHints,
    default_port: Port,
    choice: BuilderChoice,
) -> Result<Recognition, RepositoryError> {
    let procfile = procfile::Procfile::read(tree);
    let others: Vec<String> = procfile.warning().into_iter().collect();
    let foreign = foreign::recognise(tree);
    if !choice.templates
        && let Some(builder) = choice.installed.first().copied()
    {
        let language = foreign.map_or("an application", |it| it.language).to_owned();
        return Ok(Recognition::Builder(ForeignBuild { builder, language, sign: None }, others));
    }
    let (mut lacking, mut page, mut is_program) = (Vec::new(), None, false);
    let node = match node::recognise(tree, member, &procfile, hints, default_port) {
        node::NodeLook::Server(look) => look,
        node::NodeLook::Page(look) => {
            page = Some(look);
            Look::Absent
        }
    };
    let looks: [&mut dyn FnMut() -> Look; 5] = [
        &mut || python::recognise(tree, &procfile, hints, default_port),
        &mut || go::recognise(tree, member, &procfile, hints, default_port),
        &mut || rust::recognise(tree, member, &procfile, hints, default_port),
        &mut || java::recognise(tree, member, &procfile, hints, default_port),
        &mut || page.take().filter(|_| foreign.is_none()).unwrap_or(Look::Absent),
    ];
    let is_of_language = |index: usize| index < 4;
    let looked = std::iter::once((false, node))
        .chain(looks.into_iter().enumerate().map(|(index, look)| (is_of_language(index), look())));
    for (of_language, look) in looked {
        match look {
            Look::Found(found) => {
                let generated = generate(&found)?;
                return Ok(Recognition::Dockerfile(generated, found.warnings.into_iter().chain(others).collect()));
            }
            Look::Lacking(what) => {
                is_program |= of_language;
                lacking.push(what);
            }
            Look::Absent => {}
        }
    }
    if let Some(foreign) = foreign {
        let Some(builder) = choice.of(foreign.builders) else {
            lacking.push(choice.refusal(foreign.language, &foreign.file, foreign.builders));
            return Ok(Recognition::Nothing(lacking));
        };
        let build = ForeignBuild { builder, language: foreign.language.to_owned(), sign: Some(foreign.file) };
        return Ok(Recognition::Builder(build, others));
    }
    // A page beside a library in a programming language is its documentation.
    if !is_program && let Look::Found(found) = page::recognise(tree, default_port) {
        return Ok(Recognition::Dockerfile(generate(&found)?, others));
    }
    Ok(Recognition::Nothing(lacking))
}

fn generate(found: &Recognised) -> Result<Generated, RepositoryError> {
    let dockerfile = template::render(found.template, &found.values)?;
    Ok(Generated { kind: found.kind, dockerfile, choices: found.choices.clone() })
}
