//! Files as a crash or a bad disk leaves them.

use std::fs;
use std::path::PathBuf;

use super::*;

#[test]
fn a_record_torn_at_any_byte_is_cut_off_and_nothing_else() {
    let (whole, ids) = journal_of_three();
    let size = fs::read(&whole.segment).unwrap().len();
    let last = whole.lines().last().unwrap().len();

    for cut in size - last..size {
        let torn = whole.copy();
        fs::write(&torn.segment, &fs::read(&whole.segment).unwrap()[..cut]).unwrap();
        for start in ["first", "second"] {
            let (journal, replay) = open(&torn.directory);
            assert_eq!(replay.open, [(ids[2], hold(2))], "cut at {cut}, {start} start");
            assert_eq!(replay.damaged, 0, "cut at {cut}, {start} start");
            assert_eq!(rest(&journal, Position::default()).0, [entries(ids[0], 1), entries(ids[1], 1)].concat());
        }
    }
}

#[test]
fn a_last_record_of_zeros_is_cut_off() {
    let (whole, ids) = journal_of_three();
    let mut bytes = fs::read(&whole.segment).unwrap();
    let last = whole.lines().last().unwrap().len();
    let size = bytes.len();
    bytes[size - last..].fill(0);
    fs::write(&whole.segment, bytes).unwrap();

    let (_journal, replay) = open(&whole.directory);

    assert_eq!(replay.open, [(ids[2], hold(2))]);
    assert_eq!(replay.damaged, 0);
}

#[test]
fn a_damaged_settlement_in_the_middle_leaves_its_hold_open() {
    let (whole, ids) = journal_of_three();
    let mut lines = whole.lines();
    let settlement = lines.iter().position(|line| line.contains(r#"{"settle""#)).unwrap();
    lines[settlement] = lines[settlement].replace("openai", "0penai");
    fs::write(&whole.segment, lines.concat()).unwrap();

    let (journal, replay) = open(&whole.directory);

    assert_eq!(replay.open, [(ids[0], hold(0))]);
    assert_eq!(replay.damaged, 1);
    assert_eq!(rest(&journal, Position::default()).0, [entries(ids[1], 1), entries(ids[2], 1)].concat());
}

#[test]
fn a_record_of_a_newer_version_stops_the_start() {
    let (whole, _) = journal_of_three();
    let payload = r#"{"refund":{"id":1}}"#;
    let line = format!("{:08x} {payload}\n", crc32fast::hash(payload.as_bytes()));
    fs::write(&whole.segment, [line, whole.lines().concat()].concat()).unwrap();

    let error = Journal::open(whole.directory.path(), small()).unwrap_err();

    assert!(error.to_string().contains("00000001.journal` has a record at byte 0"), "{error}");
}

#[test]
fn a_journal_whose_name_is_gone_is_not_given_another() {
    let (whole, _) = journal_of_three();
    fs::remove_file(whole.directory.path().join("instance")).unwrap();

    let error = Journal::open(whole.directory.path(), small()).unwrap_err();

    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
}

struct Files {
    directory: TempDir,
    segment: PathBuf,
}

impl Files {
    fn copy(&self) -> Files {
        let directory = directory();
        for name in ["instance", "00000001.journal"] {
            fs::copy(self.directory.path().join(name), directory.path().join(name)).unwrap();
        }
        let segment = directory.path().join("00000001.journal");
        Files { directory, segment }
    }

    fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.segment).unwrap();
        text.split_inclusive('\n').map(str::to_owned).collect()
    }
}

/// Three holds, settled in order; the third settlement is the last record.
fn journal_of_three() -> (Files, Vec<HoldId>) {
    let directory = directory();
    let (journal, _) = Journal::open(directory.path(), Options::default()).unwrap();
    let ids: Vec<HoldId> = (0..3).map(|n| journal.reserve(&hold(n)).unwrap()).collect();
    for &id in &ids {
        journal.settle(id, &entries(id, 1));
        journal.flush().unwrap();
    }
    let segment = directory.path().join("00000001.journal");
    (Files { directory, segment }, ids)
}
