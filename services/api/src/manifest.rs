//! Reading manifests: strict fields, defaults, validation.
