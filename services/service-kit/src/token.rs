//! The bearer token that opens the TCP listeners.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::{fmt, hint};

use http::HeaderValue;
use uuid::Uuid;

/// Longest token, in bytes: far above any that people make, far below what a header may carry.
const TOKEN_BYTES_MAX: u64 = 1024;

/// Shortest token, in bytes: what cannot be guessed.
const TOKEN_BYTES_MIN: usize = 16;

/// A secret that a caller over TCP has to know. Its `Debug` does not show it.
#[derive(Clone)]
pub struct Token {
    secret: String,
}

/// A token could not be read or made.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("the token file {} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file cannot be made.
    #[error("the token file {} cannot be made", path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is in the file is no token.
    #[error("the token file {} holds no token: it must be one line of 16 to 1024 visible ASCII characters", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
}

impl Token {
    /// Makes a token from text; none where the text is too short or has other than visible ASCII characters.
    #[must_use]
    pub fn new(secret: &str) -> Option<Self> {
        let fits = secret.len() >= TOKEN_BYTES_MIN && secret.len() as u64 <= TOKEN_BYTES_MAX;
        (fits && secret.bytes().all(|byte| byte.is_ascii_graphic())).then(|| Self { secret: secret.to_owned() })
    }

    /// A token that nobody knows: 244 random bits.
    #[must_use]
    pub fn random() -> Self {
        Self { secret: format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()) }
    }

    /// Reads a token.
    ///
    /// # Errors
    /// The file cannot be read, or holds no token.
    pub fn load(path: &Path) -> Result<Self, TokenError> {
        let failed = |source| TokenError::Read { path: path.to_owned(), source };
        let mut text = String::new();
        File::open(path).map_err(failed)?.take(TOKEN_BYTES_MAX + 2).read_to_string(&mut text).map_err(failed)?;
        Self::new(text.trim_end()).ok_or_else(|| TokenError::Malformed { path: path.to_owned() })
    }

    /// Reads a token, or makes one that only the owner of the file may read. Of several that try at once, all get the
    /// same token.
    ///
    /// # Errors
    /// The file can be neither read nor made, or holds no token.
    pub fn load_or_create(path: &Path) -> Result<Self, TokenError> {
        match Self::load(path) {
            Err(TokenError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            loaded => return loaded,
        }
        let failed = |source| TokenError::Create { path: path.to_owned(), source };
        Self::random().publish(path).map_err(failed)?;
        Self::load(path)
    }

    /// What the `authorization` header carries.
    pub(crate) fn header(&self) -> HeaderValue {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", self.secret))
            .expect("a token has only visible ASCII characters");
        value.set_sensitive(true);
        value
    }

    /// Whether a header carries this token. Takes the same time whatever part of it is right.
    pub(crate) fn is_in(&self, header: &HeaderValue) -> bool {
        let Some(presented) = bearer(header.as_bytes()) else { return false };
        equal_in_constant_time(presented, self.secret.as_bytes())
    }

    /// Writes a whole file under another name and links it into place, so that nobody ever reads half a token.
    fn publish(&self, path: &Path) -> io::Result<()> {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let draft = directory.join(format!(".token-{}", Uuid::new_v4().simple()));
        let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft).and_then(|mut file| {
            writeln!(file, "{}", self.secret)?;
            file.sync_all()
        });
        let linked = written.and_then(|()| match fs::hard_link(&draft, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        });
        let removed = fs::remove_file(&draft);
        linked.and(removed)?;
        File::open(directory)?.sync_all()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(..)")
    }
}

/// The token that a header carries. The scheme is compared without regard to case, as HTTP says.
pub(crate) fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(rest)
}

fn equal_in_constant_time(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    let difference =
        left.iter().zip(right).fold(0_u8, |difference, (left, right)| hint::black_box(difference | (left ^ right)));
    hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_token_is_made_once_and_only_its_owner_reads_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("token");
        let tokens = std::thread::scope(|scope| {
            let made = [(); 8].map(|()| scope.spawn(|| Token::load_or_create(&path).expect("a token")));
            made.map(|thread| thread.join().expect("no panic"))
        });
        assert!(tokens.iter().all(|token| token.secret == tokens[0].secret));
        assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).expect("a directory").count(), 1, "drafts are removed");
    }

    #[test]
    fn only_the_same_token_opens() {
        let token = Token::random();
        assert!(token.is_in(&token.header()));
        assert!(token.is_in(&HeaderValue::from_str(&format!("bearer {}", token.secret)).expect("a header")));
        let near = format!("Bearer {}x", &token.secret[..token.secret.len() - 1]);
        for wrong in ["", "Bearer", "Bearer ", "Basic abc", &token.secret, &near] {
            assert!(!token.is_in(&HeaderValue::from_str(wrong).expect("a header")), "{wrong}");
        }
    }

    #[test]
    fn a_token_is_never_printed() {
        let token = Token::random();
        assert!(!format!("{token:?} {:?}", token.header()).contains(&token.secret));
    }

    #[test]
    fn a_file_that_holds_no_token_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("token");
        for text in ["", "short", "with spaces in between", &"x".repeat(1025)] {
            fs::write(&path, text).expect("a file");
            let error = Token::load(&path).expect_err(text).to_string();
            assert!(error.contains(path.to_str().expect("text")), "{error}");
        }
    }
}
