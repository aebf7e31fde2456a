//! What an image name means on a machine without images: a program of the machine, with arguments.
//!
//! Only for containers without a `command`. Users extend or replace entries in a YAML or JSON file, which is read anew for
//! every container, so that an entry counts as soon as it is written:
//!
//! ```yaml
//! my-db:
//!   programs: [my-db-server]
//!   args: ["--data={data}", "--listen={bind}"]
//!   data: /var/lib/my-db
//!   package: my-db
//! ```

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The largest catalogue file, in bytes: thousands of entries.
const FILE_SIZE_MAX: u64 = 1 << 20;

/// Where programs of the machine are looked up: servers live in the sbin directories.
const PROGRAM_DIRECTORIES: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// One image.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Entry {
    /// Programs, the first that is installed counts. A name, or a path in which one directory may be `*`.
    pub programs: Vec<String>,
    /// Arguments, replaced by the container's `args`. `{home}`, `{data}`, `{bind}`, `{ip}` and `{hostname}` stand for
    /// the container's own directory, its data directory, the address to listen on, the pod's address and hostname.
    pub args: Vec<String>,
    /// A shell script to run instead, with the program as `$0`; it ends with `exec "$0"`.
    pub script: Option<String>,
    /// Where the image keeps its data: the mount there if there is one, else a directory that lives as long as the pod.
    pub data: Option<String>,
    /// Files to write below `{home}` first, with the same placeholders.
    pub files: BTreeMap<String, String>,
    /// Debian package that has the program.
    pub package: Option<String>,
}

/// Image names and what they mean.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Catalogue {
    built_in: BTreeMap<String, Entry>,
    file: Option<PathBuf>,
}

/// Why a catalogue file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogueError {
    /// The file.
    #[error("cannot read catalogue {path:?}: {why}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// What it says.
    #[error("cannot understand catalogue {path:?}: {why}")]
    Parse {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// Why an image cannot be run; the container waits with `ErrImageNeverPull`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// Nobody knows the image.
    #[error(
        "image {image:?} is not in the catalogue: pods run programs of this machine, not images; add a `command` to the \
         container, or {name:?} to {file}"
    )]
    Unknown {
        /// As written.
        image: String,
        /// Without registry and tag.
        name: String,
        /// Where an entry can be added.
        file: String,
    },
    /// The users' entries cannot be read.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// The program is not there.
    #[error("image {image:?} runs {program}, which is not installed{hint}")]
    NotInstalled {
        /// As written.
        image: String,
        /// What was looked for.
        program: String,
        /// What to do.
        hint: String,
    },
}

impl Catalogue {
    /// What is built in; `own_program` is the executable with the demonstration workload.
    #[must_use]
    pub fn built_in(own_program: Option<&Path>) -> Self {
        let mut entries = BTreeMap::new();
        for (names, entry) in built_in() {
            for name in names {
                entries.insert((*name).to_owned(), entry.clone());
            }
        }
        if let Some(program) = own_program {
            let programs = vec![program.display().to_string()];
            let entry = Entry { programs, args: strings(&["demo-workload"]), ..Entry::default() };
            entries.insert("setkeeper/demo".to_owned(), entry);
        }
        Self { built_in: entries, file: None }
    }

    /// The same with a file of the user's, whose entries come before those that are built in. It may be written later.
    #[must_use]
    pub fn with_file(self, path: Option<PathBuf>) -> Self {
        Self { file: path, ..self }
    }

    /// What the file says now; nothing where there is none.
    ///
    /// # Errors
    /// The file cannot be read or understood.
    pub fn of_user(&self) -> Result<BTreeMap<String, Entry>, CatalogueError> {
        let Some(path) = &self.file else { return Ok(BTreeMap::new()) };
        let text = match read_bounded(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(error) => return Err(CatalogueError::Read { path: path.clone(), why: error.to_string() }),
        };
        let entries = serde_saphyr::from_str::<Option<BTreeMap<String, Entry>>>(&text)
            .map_err(|error| CatalogueError::Parse { path: path.clone(), why: error.to_string() })?;
        Ok(entries.unwrap_or_default())
    }

    /// The entry of an image and the program of this machine that it means.
    ///
    /// # Errors
    /// The image is not known, no program of it is installed, or the user's file cannot be understood.
    pub fn find(&self, image: &str) -> Result<(Entry, String), ImageError> {
        let (long, name) = image_names(image);
        let of_user = self.of_user()?;
        let entry = [&of_user, &self.built_in].into_iter().find_map(|all| all.get(long).or_else(|| all.get(name)));
        let entry = entry.cloned().ok_or_else(|| ImageError::Unknown {
            image: image.to_owned(),
            name: long.to_owned(),
            file: self.file.as_ref().map_or_else(|| "the catalogue file".to_owned(), |path| path.display().to_string()),
        })?;
        match entry.programs.iter().find_map(|program| find_program(program)) {
            Some(program) => Ok((entry, program)),
            None => Err(ImageError::NotInstalled {
                image: image.to_owned(),
                program: entry.programs.join(" or "),
                hint: entry
                    .package
                    .as_ref()
                    .map_or_else(String::new, |package| format!("; on Debian or Ubuntu: apt-get install {package}")),
            }),
        }
    }
}

fn read_bounded(path: &Path) -> io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    // One byte more than allowed tells that there is more.
    std::fs::File::open(path)?.take(FILE_SIZE_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_SIZE_MAX {
        return Err(io::Error::other(format!("larger than {FILE_SIZE_MAX} bytes")));
    }
    Ok(text)
}

/// The image without tag and digest, and its last part alone.
fn image_names(image: &str) -> (&str, &str) {
    let image = image.split_once('@').map_or(image, |(name, _)| name);
    let last = image.rfind('/').map_or(0, |slash| slash + 1);
    let end = image[last..].find(':').map_or(image.len(), |colon| last + colon);
    (&image[..end], &image[last..end])
}

/// A program of this machine, as an absolute path.
fn find_program(program: &str) -> Option<String> {
    let usable = |path: &Path| {
        use std::os::unix::fs::PermissionsExt as _;
        path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    if let Some((before, after)) = program.split_once('*') {
        let mut found: Vec<PathBuf> = std::fs::read_dir(before)
            .ok()?
            .flatten()
            .map(|entry| entry.path().join(after.trim_start_matches('/')))
            .filter(|path| usable(path))
            .collect();
        found.sort();
        return found.pop().map(|path| path.display().to_string());
    }
    if program.contains('/') {
        return usable(Path::new(program)).then(|| program.to_owned());
    }
    let candidates = PROGRAM_DIRECTORIES.iter().map(|directory| Path::new(directory).join(program));
    candidates.into_iter().find(|path| usable(path)).map(|path| path.display().to_string())
}

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

fn entry(programs: &[&str], package: &str, data: &str, args: &[&str]) -> Entry {
    Entry {
        programs: strings(programs),
        args: strings(args),
        data: (!data.is_empty()).then(|| data.to_owned()),
        package: Some(package.to_owned()),
        ..Entry::default()
    }
}

fn scripted(programs: &[&str], package: &str, data: &str, script: &str) -> Entry {
    Entry { script: Some(script.to_owned()), ..entry(programs, package, data, &[]) }
}

fn built_in() -> Vec<(&'static [&'static str], Entry)> {
    let nginx = Entry {
        files: BTreeMap::from([
            ("nginx.conf".to_owned(), include_str!("catalogue/nginx.conf").to_owned()),
            ("data/index.html".to_owned(), include_str!("catalogue/index.html").to_owned()),
        ]),
        ..entry(&["nginx"], "nginx-light", "/usr/share/nginx/html", &["-e", "stderr", "-c", "{home}/nginx.conf"])
    };
    let redis = ["--bind", "{bind}", "--protected-mode", "no", "--dir", "{data}"];
    let etcd = [
        "--name={hostname}",
        "--data-dir={data}",
        "--listen-client-urls=http://{bind}:2379",
        "--advertise-client-urls=http://{ip}:2379",
        "--listen-peer-urls=http://{bind}:2380",
        "--initial-advertise-peer-urls=http://{ip}:2380",
        "--initial-cluster={hostname}=http://{ip}:2380",
    ];
    vec![
        (&["nginx", "nginx-slim"], nginx),
        (&["redis"], entry(&["redis-server"], "redis-server", "/data", &redis)),
        (&["valkey"], entry(&["valkey-server"], "valkey-server", "/data", &redis)),
        (&["etcd"], entry(&["etcd"], "etcd-server", "/var/lib/etcd", &etcd)),
        (
            &["mysql", "mariadb"],
            scripted(&["mariadbd", "mysqld"], "mariadb-server", "/var/lib/mysql", include_str!("catalogue/mysql.sh")),
        ),
        (
            &["postgres", "postgresql"],
            scripted(
                &["/usr/lib/postgresql/*/bin/postgres", "postgres"],
                "postgresql",
                "/var/lib/postgresql/data",
                include_str!("catalogue/postgres.sh"),
            ),
        ),
        (&["busybox"], entry(&["busybox"], "busybox", "", &["sh"])),
        (&["alpine", "debian", "ubuntu"], entry(&["sh"], "dash", "", &[])),
        (&["nats"], entry(&["nats-server"], "nats-server", "/data", &["-a", "{bind}", "-m", "8222"])),
        (&["memcached"], entry(&["memcached"], "memcached", "", &["-l", "{bind}", "-u", "root"])),
        (&["haproxy"], entry(&["haproxy"], "haproxy", "", &["-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"])),
        (
            &["zookeeper"],
            scripted(
                &["/usr/share/zookeeper/bin/zkServer.sh"],
                "zookeeper",
                "/data",
                include_str!("catalogue/zookeeper.sh"),
            ),
        ),
        (
            &["rabbitmq"],
            scripted(
                &["/usr/lib/rabbitmq/bin/rabbitmq-server", "rabbitmq-server"],
                "rabbitmq-server",
                "/var/lib/rabbitmq",
                include_str!("catalogue/rabbitmq.sh"),
            ),
        ),
        (&["eclipse-mosquitto", "mosquitto"], entry(&["mosquitto"], "mosquitto", "", &[])),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registry_tag_and_digest_do_not_matter() {
        for (image, long, name) in [
            ("nginx", "nginx", "nginx"),
            ("registry.k8s.io/nginx-slim:0.24", "registry.k8s.io/nginx-slim", "nginx-slim"),
            ("localhost:5000/a/redis:7@sha256:00", "localhost:5000/a/redis", "redis"),
            ("setkeeper/demo", "setkeeper/demo", "demo"),
        ] {
            assert_eq!(image_names(image), (long, name), "{image}");
        }
    }

    #[test]
    fn what_is_missing_says_what_to_do() {
        let catalogue = Catalogue::built_in(Some(Path::new("/bin/sh")));
        assert_eq!(catalogue.find("setkeeper/demo").unwrap().1, "/bin/sh");
        let unknown = catalogue.find("example.org/emqx/emqx-ee:4.4.8").unwrap_err();
        assert!(unknown.to_string().contains("add a `command`"), "{unknown}");
        let built_in = BTreeMap::from([("x".to_owned(), entry(&["no-such-program"], "x-server", "", &[]))]);
        let absent = Catalogue { built_in, file: None };
        let error = absent.find("x:1").unwrap_err().to_string();
        assert!(error.contains("apt-get install x-server"), "{error}");
    }

    #[test]
    fn the_file_counts_as_soon_as_it_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("images.yaml");
        let catalogue = Catalogue::built_in(None).with_file(Some(path.clone()));
        let unknown = catalogue.find("example.org/mine:1").unwrap_err().to_string();
        assert!(unknown.contains(&format!("\"example.org/mine\" to {}", path.display())), "{unknown}");
        std::fs::write(&path, "# nothing yet\n").unwrap();
        assert!(catalogue.find("mine:1").is_err());
        std::fs::write(&path, "mine:\n  programs: [sh]\n  args: ['{data}']\nbusybox: {programs: [cat]}\n").unwrap();
        assert_eq!(catalogue.find("example.org/mine:1").unwrap().0.args, ["{data}"]);
        assert_eq!(catalogue.find("busybox").unwrap().0.programs, ["cat"]);
        std::fs::write(&path, "mine: {program: sh}\n").unwrap();
        let error = catalogue.find("busybox").unwrap_err().to_string();
        assert!(error.contains("program") && error.contains("images.yaml"), "{error}");
    }
}
