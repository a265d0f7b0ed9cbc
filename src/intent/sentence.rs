//! Sentences without a model.
