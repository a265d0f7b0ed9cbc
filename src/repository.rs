//! What a clone holds: its Dockerfile (found or made, linted, its ports), the hints of its README, its build context.
//!
//! Pure functions over a directory, blocking, without network. What they read was written by strangers: links never
//! lead out of the clone, sizes and numbers are bounded, and nothing of it is run.
//!
//! **Where it begins**: in the root, or in the directory that the request names.
//! **Which Dockerfile**: the one that the request names, else the one there, else the only one down to four levels of
//! directories, else the only `Dockerfile.<name>` or `<name>.Dockerfile`; those of tests, examples and documents do not count.
//! **Without one**: the application that is recognised there, else the only one below. **Which context**: the Dockerfile's own directory when everything
//! that its COPY and ADD take lies there, else the directory where the build begins, else the root when everything lies
//! there, else its own directory.

pub mod analysis;
pub mod application;
pub mod builder;
pub mod context;
pub mod error;
pub mod readme;

mod dockerfile;
mod expand;
mod here_document;
mod ignore;
mod lint;
mod recognise;
mod stage;
mod survey;
mod tree;

#[cfg(test)]
mod tests;
