use std::os::unix::fs::symlink;

use super::*;
use crate::kubelet::assigned::Keys;
use crate::spec::Pod;

fn assigned(volumes: &str) -> Assigned {
    let json = format!(r#"{{"metadata":{{"name":"a","labels":{{"b":"1"}}}},"spec":{{"volumes":{volumes}}}}}"#);
    Assigned { pod: Pod::from_json(json.as_bytes()).unwrap(), ..Assigned::default() }
}

fn places(directory: &tempfile::TempDir) -> Places {
    Places { disk: directory.path().join("disk"), memory: directory.path().join("memory") }
}

#[test]
fn p64_a_config_map_swaps_as_one() {
    let directory = tempfile::tempdir().unwrap();
    let places = places(&directory);
    let mut assigned = assigned(r#"[{"name":"v","configMap":{"name":"cm","defaultMode":256}}]"#);
    let missing = prepare(&assigned, &places, Machine::default()).unwrap_err().to_string();
    assert_eq!(missing, r#"volume "v": configmap "cm" not found"#, "P-01");

    let keys =
        |list: &[(&str, &str)]| list.iter().map(|(k, v)| ((*k).to_owned(), v.as_bytes().to_vec())).collect::<Keys>();
    assigned.config_maps.insert("cm".to_owned(), keys(&[("a", "1"), ("b", "2")]));
    let path = prepare(&assigned, &places, Machine::default()).unwrap()["v"].path.clone();
    assert_eq!(std::fs::read(path.join("a")).unwrap(), b"1");
    assert_eq!(path.join("a").metadata().unwrap().mode() & 0o777, 0o400);
    let first = std::fs::read_link(path.join("..data")).unwrap();
    prepare(&assigned, &places, Machine::default()).unwrap();
    assert_eq!(std::fs::read_link(path.join("..data")).unwrap(), first, "unchanged content is left alone");

    assigned.config_maps.insert("cm".to_owned(), keys(&[("a", "3")]));
    prepare(&assigned, &places, Machine::default()).unwrap();
    assert_eq!(std::fs::read(path.join("a")).unwrap(), b"3");
    assert!(!path.join("b").exists());
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), 3, "one directory, ..data, one file");
}

#[test]
fn p65_an_empty_dir_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let places = places(&directory);
    let assigned = assigned(r#"[{"name":"d","emptyDir":{}},{"name":"m","emptyDir":{"medium":"Memory"}}]"#);
    let ready = prepare(&assigned, &places, Machine::default()).unwrap();
    std::fs::write(ready["d"].path.join("x"), "kept").unwrap();
    assert_eq!(prepare(&assigned, &places, Machine::default()).unwrap(), ready);
    assert_eq!(std::fs::read(ready["d"].path.join("x")).unwrap(), b"kept");
    assert!(ready["m"].path.starts_with(&places.memory));
    assert_eq!(ready["d"].path.metadata().unwrap().mode() & 0o777, 0o777);
}

#[test]
fn projected_sources_share_a_directory_and_must_not_clash() {
    let directory = tempfile::tempdir().unwrap();
    let source = |path: &str| {
        format!(
            r#"[{{"name":"p","projected":{{"sources":[{{"downwardAPI":{{"items":[{{"path":"x/labels","fieldRef":{{"fieldPath":"metadata.labels"}}}}]}}}},
            {{"downwardAPI":{{"items":[{{"path":"{path}","fieldRef":{{"fieldPath":"metadata.name"}}}}]}}}}]}}}}]"#
        )
    };
    let ready = prepare(&assigned(&source("x/name")), &places(&directory), Machine::default()).unwrap();
    assert_eq!(std::fs::read(ready["p"].path.join("x/labels")).unwrap(), b"b=\"1\"");
    assert_eq!(std::fs::read(ready["p"].path.join("x/name")).unwrap(), b"a");
    assert!(prepare(&assigned(&source("x/labels")), &places(&directory), Machine::default()).is_err());
    assert!(prepare(&assigned(&source("../out")), &places(&directory), Machine::default()).is_err());
}

#[test]
fn p63_sub_paths_stay_inside() {
    let directory = tempfile::tempdir().unwrap();
    let volume = directory.path().canonicalize().unwrap();
    symlink("/etc", volume.join("out")).unwrap();
    std::fs::create_dir(volume.join("real")).unwrap();
    symlink("real", volume.join("in")).unwrap();
    assert!(matches!(resolve_sub_path(&volume, "../x"), Err(SubPathError::NotInside { .. })));
    assert!(matches!(resolve_sub_path(&volume, "/etc"), Err(SubPathError::NotInside { .. })));
    assert!(matches!(resolve_sub_path(&volume, "out"), Err(SubPathError::LeadsOut { .. })));
    assert!(matches!(resolve_sub_path(&volume, "out/x"), Err(SubPathError::LeadsOut { .. })));
    assert_eq!(resolve_sub_path(&volume, "in").unwrap(), volume.join("real"));
    assert_eq!(resolve_sub_path(&volume, "in/new/deep").unwrap(), volume.join("real/new/deep"));
}

#[test]
fn host_paths_are_checked_by_type() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("f");
    let check = |path: &Path, kind: &str| {
        check_host_path(&HostPath { path: path.display().to_string(), r#type: kind.to_owned() })
    };
    assert!(check(&file, "File").is_err());
    assert!(check(&file, "FileOrCreate").is_ok());
    assert!(check(&file, "Directory").unwrap_err().contains("is not a Directory"));
    assert!(check(&directory.path().join("d"), "DirectoryOrCreate").is_ok());
    assert!(check(&directory.path().join("e"), "").is_ok());
    assert!(check(Path::new("relative"), "").is_err());
}
