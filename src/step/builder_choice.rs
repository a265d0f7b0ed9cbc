//! Which builders of others may be used.

use crate::config::Settings;
use crate::config::value::BuilderSetting;
use crate::repository::builder::{Builder, BuilderChoice};
use crate::tool::builder::BuilderProgram;

/// Who may build what has no Dockerfile: as the settings say, and as programs are installed.
#[must_use]
pub fn choice(settings: &Settings) -> BuilderChoice {
    const BOTH: &[Builder] = &[Builder::Buildpacks, Builder::Railpack];
    let is_installed = |builder: &Builder| program(settings, *builder).is_installed();
    let installed = match BOTH.iter().map(is_installed).collect::<Vec<_>>().as_slice() {
        [true, true] => BOTH,
        [true, false] => &BOTH[..1],
        [false, true] => &BOTH[1..],
        _ => &[],
    };
    match settings.docker.builder {
        BuilderSetting::Auto => BuilderChoice { templates: true, installed, allowed: true },
        BuilderSetting::Templates => BuilderChoice::TEMPLATES,
        BuilderSetting::Buildpacks => BuilderChoice { templates: false, installed: &BOTH[..1], allowed: true },
        BuilderSetting::Railpack => BuilderChoice { templates: false, installed: &BOTH[1..], allowed: true },
    }
}

/// The program of a builder, as the settings say.
pub(super) fn program(settings: &Settings, builder: Builder) -> BuilderProgram {
    match builder {
        Builder::Buildpacks => BuilderProgram::pack(settings),
        Builder::Railpack => BuilderProgram::railpack(settings),
    }
}
