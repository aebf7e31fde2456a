//! `setkeeper certs`: an authority, and certificates of services and users.
//!
//! Each certificate has a directory of its own with `tls.crt`, `tls.key` and `ca.crt`, named as in a Kubernetes Secret.
//! Renewing keeps the key and replaces one file in one step, so that a service that looks at any moment finds a
//! certificate and a key that fit together.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};
use service_kit::clock::{Clock as _, SystemClock};
use service_kit::role::{Holder, Identifier};
use service_kit::{Identity, TlsFiles, tls};

use crate::args::{CertsArgs, Service};
use crate::data_dir::{PRIVATE, write_atomically};
use crate::failure::Outcome;

/// How long an authority is good: its replacement has to reach every machine.
const AUTHORITY_DAYS: u64 = 3650;

/// Certificates begin this much earlier than now, for machines whose clocks are late.
const CLOCK_SKEW: Duration = Duration::from_secs(60 * 60);

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Mode of a certificate.
const PUBLIC: u32 = 0o644;

/// Makes or renews certificates, and says where they are.
///
/// # Errors
/// A name is none, or a file cannot be read or written.
pub(crate) fn certs(args: &CertsArgs, out: &mut impl Write) -> Outcome {
    let holders = holders(args);
    let identifiers: Vec<Identifier> = holders
        .into_iter()
        .map(|holder| Identifier { trust_domain: args.trust_domain.clone(), holder }.to_string().parse())
        .collect::<Result<_, _>>()
        .map_err(anyhow::Error::from)?;
    let (issuer, authority) = authority(&args.out)?;
    for identifier in &identifiers {
        let directory = args.out.join(directory_of(&identifier.holder));
        certify(&directory, identifier, args, &issuer, &authority)
            .with_context(|| format!("the certificate of {identifier} cannot be made"))?;
        writeln!(out, "{}: {identifier}, for {} days", directory.display(), args.days)?;
    }
    writeln!(out, "Give each its own tls.crt, tls.key and ca.crt with --tls-cert, --tls-key and --tls-ca.")?;
    writeln!(out, "Keep {} to yourself: whoever has it can be anyone.", args.out.join("ca.key").display())?;
    Ok(())
}

/// Whose certificates are wanted.
fn holders(args: &CertsArgs) -> Vec<Holder> {
    let every = args.services.is_empty() && args.users.is_empty();
    let services = if every { Service::ALL.to_vec() } else { args.services.clone() };
    let services = services.into_iter().map(|service| Holder::Service(service.role()));
    services.chain(args.users.iter().cloned().map(Holder::User)).collect()
}

/// Services lie side by side, users below a directory of their own.
fn directory_of(holder: &Holder) -> PathBuf {
    match holder {
        Holder::Service(role) => role.name().into(),
        Holder::User(name) => Path::new("users").join(name),
    }
}

/// The authority in a directory, made where there is none.
fn authority(directory: &Path) -> anyhow::Result<(Issuer<'static, KeyPair>, String)> {
    make_directory(directory)?;
    let (certificate, key) = (directory.join("ca.crt"), directory.join("ca.key"));
    match (certificate.exists(), key.exists()) {
        (true, true) => {}
        (false, false) => make_authority(&certificate, &key)?,
        (there, _) => {
            let (missing, left) = if there { (&key, &certificate) } else { (&certificate, &key) };
            bail!("{} is missing and {} is there: put it back, or remove both", missing.display(), left.display());
        }
    }
    // Before anything is replaced by what nobody would believe.
    tls::fits(&certificate, &key)?;
    let pem = read(&certificate)?;
    let issuer = Issuer::from_ca_cert_pem(&pem, KeyPair::from_pem(&read(&key)?)?)
        .with_context(|| format!("{} is no authority", certificate.display()))?;
    Ok((issuer, pem))
}

fn make_authority(certificate: &Path, key: &Path) -> anyhow::Result<()> {
    let mut params = valid_for(AUTHORITY_DAYS);
    params.distinguished_name.push(DnType::CommonName, "Setkeeper");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    write_new(key, &authority.key().serialize_pem(), PRIVATE)?;
    write_new(certificate, &authority.pem(), PUBLIC)
}

fn certify(
    directory: &Path,
    identifier: &Identifier,
    args: &CertsArgs,
    issuer: &Issuer<'_, KeyPair>,
    authority: &str,
) -> anyhow::Result<()> {
    make_directory(directory)?;
    let files = TlsFiles {
        certificate: directory.join("tls.crt"),
        key: directory.join("tls.key"),
        authority: directory.join("ca.crt"),
    };
    if !files.key.exists() {
        write_new(&files.key, &KeyPair::generate()?.serialize_pem(), PRIVATE)?;
    }
    let key = KeyPair::from_pem(&read(&files.key)?)?;
    let mut params = valid_for(args.days.into());
    params.distinguished_name.push(DnType::CommonName, identifier.holder.to_string());
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    params.subject_alt_names = alternative_names(identifier, &args.hosts)?;
    write_over(&files.authority, authority)?;
    write_over(&files.certificate, &params.signed_by(&key, issuer)?.pem())?;
    // What nobody could use, or would believe, is told now and not when a service starts.
    Ok(Identity::load(files)?.vouched()?)
}

/// The name that counts, and for services those that other clients look at.
fn alternative_names(identifier: &Identifier, hosts: &[String]) -> anyhow::Result<Vec<SanType>> {
    let mut names = vec![SanType::URI(identifier.to_string().try_into()?)];
    let Holder::Service(role) = identifier.holder else { return Ok(names) };
    for host in hosts.iter().map(String::as_str).chain([role.name()]) {
        names.push(match host.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(host.try_into().with_context(|| format!("--host {host:?} is no name"))?),
        });
    }
    Ok(names)
}

fn valid_for(days: u64) -> CertificateParams {
    let now = Duration::from_millis(u64::try_from(SystemClock.now().0).unwrap_or(0));
    let mut params = CertificateParams::default();
    params.not_before = date_time_ymd(1970, 1, 1) + now.saturating_sub(CLOCK_SKEW);
    params.not_after = date_time_ymd(1970, 1, 1) + now + DAY * u32::try_from(days).unwrap_or(u32::MAX);
    params
}

fn make_directory(path: &Path) -> anyhow::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("the directory {} cannot be made", path.display()))
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))
}

/// Never replaces what is there.
fn write_new(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().with_context(|| format!("{} cannot be written", path.display()))
}

/// Replaces what is there in one step.
fn write_over(path: &Path, text: &str) -> anyhow::Result<()> {
    write_atomically(path, text.as_bytes(), PUBLIC).with_context(|| format!("{} cannot be written", path.display()))
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::os::unix::fs::PermissionsExt as _;

    use service_kit::Role;

    use super::*;

    fn args(directory: &Path) -> CertsArgs {
        CertsArgs {
            out: directory.to_owned(),
            services: Vec::new(),
            users: Vec::new(),
            hosts: vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
            days: 30,
            trust_domain: "shop".to_owned(),
        }
    }

    fn identity(directory: &Path) -> Identity {
        let file = |name: &str| directory.join(name);
        let files = TlsFiles { certificate: file("tls.crt"), key: file("tls.key"), authority: file("ca.crt") };
        Identity::load(files).expect("an identity")
    }

    #[test]
    fn everybody_gets_an_identity_and_only_they_read_its_key() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut out = Vec::new();
        certs(&args(directory.path()), &mut out).expect("makes them");
        certs(&CertsArgs { users: vec!["ann".to_owned()], ..args(directory.path()) }, &mut out).expect("one more");
        for role in Role::ALL {
            let own = directory.path().join(role.name());
            assert_eq!(identity(&own).identifier().to_string(), format!("spiffe://shop/{}", role.name()));
            let mode = fs::metadata(own.join("tls.key")).expect("a key").permissions().mode();
            assert_eq!(mode & 0o777, PRIVATE);
        }
        let ann = identity(&directory.path().join("users/ann")).identifier();
        assert_eq!(ann.to_string(), "spiffe://shop/user/ann");
        assert!(String::from_utf8(out).expect("text").contains("spiffe://shop/user/ann, for 30 days"));
    }

    #[test]
    fn renewing_keeps_the_authority_and_the_keys() {
        let directory = tempfile::tempdir().expect("a directory");
        let content = |file: &str| fs::read_to_string(directory.path().join(file)).expect("a file");
        let of_all = || ["ca.crt", "ca.key", "coordinator/tls.key", "coordinator/tls.crt"].map(content);
        certs(&args(directory.path()), &mut io::sink()).expect("makes them");
        let before = of_all();
        let renewed = CertsArgs { services: vec![Service::Coordinator], ..args(directory.path()) };
        certs(&renewed, &mut io::sink()).expect("renews one");
        let after = of_all();
        assert_eq!(before[..3], after[..3]);
        assert_ne!(before[3], after[3], "a new certificate");
    }

    #[test]
    fn half_an_authority_is_never_completed() {
        let directory = tempfile::tempdir().expect("a directory");
        certs(&args(directory.path()), &mut io::sink()).expect("makes them");
        fs::remove_file(directory.path().join("ca.key")).expect("removed");
        assert!(certs(&args(directory.path()), &mut io::sink()).is_err());
        assert!(!directory.path().join("ca.key").exists());
    }

    #[test]
    fn an_authority_with_the_key_of_another_replaces_nothing() {
        let [own, other] = [(); 2].map(|()| tempfile::tempdir().expect("a directory"));
        certs(&args(own.path()), &mut io::sink()).expect("makes them");
        certs(&args(other.path()), &mut io::sink()).expect("makes them");
        fs::copy(other.path().join("ca.key"), own.path().join("ca.key")).expect("is copied");
        let certificate = || fs::read_to_string(own.path().join("coordinator/tls.crt")).expect("is there");
        let before = certificate();
        let error = certs(&args(own.path()), &mut io::sink()).expect_err("nobody would believe them");
        assert!(format!("{error:?}").contains("cannot be used with the key"), "{error:?}");
        assert_eq!(certificate(), before);
        // One who has another authority's certificate is told where that is seen.
        fs::copy(other.path().join("ca.crt"), own.path().join("coordinator/ca.crt")).expect("is copied");
        let error = identity(&own.path().join("coordinator")).vouched().expect_err("another signed it").to_string();
        assert!(error.contains("does not vouch for"), "{error}");
    }

    #[test]
    fn names_that_are_none_are_refused_before_anything_is_made() {
        let directory = tempfile::tempdir().expect("a directory");
        let out = directory.path().join("certs");
        for user in ["", "..", "../ann", "Ann", "a/b"] {
            assert!(
                certs(&CertsArgs { users: vec![user.to_owned()], ..args(&out) }, &mut io::sink()).is_err(),
                "{user}"
            );
        }
        assert!(!out.exists());
    }
}
