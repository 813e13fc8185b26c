use proptest::prelude::*;

use super::*;

/// Reads `input` in pieces of the given sizes (then all that is left); what is stored, and what follows the end.
fn read(input: &[u8], sizes: &[usize], max_size: u64) -> (Result<Vec<u8>, Dropped>, Option<Vec<u8>>) {
    let mut content = Content::new(max_size, Ends::CrLfOnly);
    let mut body = Vec::new();
    let mut rest = input;
    let mut sizes = sizes.iter().copied();
    let mut ended = false;
    while !rest.is_empty() && !ended {
        let (mut piece, later) = rest.split_at(sizes.next().unwrap_or(rest.len()).clamp(1, rest.len()));
        while !piece.is_empty() && !ended {
            let (used, progress) = content.read(piece);
            piece = &piece[used..];
            match progress {
                Progress::Chunk(Chunk { bytes, .. }) => body.extend(bytes),
                Progress::End => ended = true,
                Progress::More | Progress::Dropped { .. } => {}
            }
        }
        rest = &rest[rest.len() - later.len() - piece.len()..];
    }
    if let Some(Chunk { bytes, .. }) = content.take_rest() {
        body.extend(bytes);
    }
    let stored = content.complete().map(|complete| [complete.head, body].concat());
    (stored, ended.then(|| rest.to_vec()))
}

/// What is in memory.
fn held(content: &Content) -> usize {
    match &content.body {
        Body::Whole(buffer) => buffer.len(),
        Body::Parted { head, chunk, .. } => head.capacity() + chunk.len(),
        Body::Dropped(_) => 0,
    }
}

/// The same by search and split, on whole content: what is stored, and what follows the end.
fn reference(input: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let framed = [b"\r\n", input].concat();
    let end = framed.windows(5).position(|window| window == b"\r\n.\r\n")?;
    let mut stored = Vec::new();
    let mut lines = Vec::new();
    let mut rest = &framed[2..(end + 2).max(2)];
    while let Some(at) = rest.windows(2).position(|window| window == b"\r\n") {
        lines.push(&rest[..at]);
        rest = &rest[at + 2..];
    }
    assert!(rest.is_empty());
    for line in lines {
        // What is left of CR CR LF.
        let crs = line.iter().rev().take_while(|byte| **byte == b'\r').count();
        for (index, part) in line[..line.len() - crs].split(|byte| *byte == b'\n').enumerate() {
            if index > 0 {
                stored.extend_from_slice(b"\r\n");
            }
            let stuffed = part.starts_with(b".") && !matches!(part.get(1), None | Some(b'\r'));
            for byte in &part[usize::from(stuffed)..] {
                match byte {
                    b'\r' => stored.extend_from_slice(b"\r\n"),
                    _ => stored.push(*byte),
                }
            }
        }
        stored.extend_from_slice(b"\r\n");
    }
    Some((stored, framed[end + 5..].to_vec()))
}

fn stored(input: &[u8]) -> (String, Option<String>) {
    let (stored, rest) = read(input, &[], u64::MAX);
    (String::from_utf8(stored.unwrap()).unwrap(), rest.map(|rest| String::from_utf8(rest).unwrap()))
}

#[test]
fn dots_are_unstuffed_and_lone_ones_that_end_nothing_stay() {
    for (input, expected) in [
        (".\r\n", ""),
        ("a\r\n.\r\n", "a\r\n"),
        ("..\r\n.\r\n", ".\r\n"),
        ("..a\r\n.b\r\n...\r\n.\r\n", ".a\r\nb\r\n..\r\n"),
        ("a\n.\nb\r\n.\r\n", "a\r\n.\r\nb\r\n"),
        ("a\n.\r\nb\r\n.\r\n", "a\r\n.\r\nb\r\n"),
        ("a\r\n.\nb\r\n.\r\n", "a\r\n.\r\nb\r\n"),
        ("a\r\n.\rb\r\n.\r\n", "a\r\n.\r\nb\r\n"),
        ("a\r\n.\r\r\nb\r\n.\r\n", "a\r\n.\r\nb\r\n"),
        ("a\r.\rb\r\n.\r\n", "a\r\n.\r\nb\r\n"),
        ("a\r.\r\nb\r\n.\r\n", "a\r\n.\r\nb\r\n"),
        ("a\r\r\n.\r\n", "a\r\n"),
        ("a\n..b\n.c\n..\n.\r\n.\r\n", "a\r\n.b\r\nc\r\n.\r\n.\r\n"),
        ("a\n.\0\r\n.\r\n", "a\r\n\0\r\n"),
        ("a\r..b\r\n.\r\n", "a\r\n..b\r\n"),
    ] {
        assert_eq!(stored(input.as_bytes()), (expected.to_owned(), Some(String::new())), "{input:?}");
    }
}

#[test]
fn crs_before_lf_are_one_line_end_and_others_one_each() {
    for (input, expected) in [
        ("Subject: x\r\r\nTo: y\r\r\n\r\r\nz\r\n.\r\n", "Subject: x\r\nTo: y\r\n\r\nz\r\n"),
        ("a\r\r\r\r\nb\r\n.\r\n", "a\r\nb\r\n"),
        ("a\r\r\rb\r\n.\r\n", "a\r\n\r\n\r\nb\r\n"),
        ("a\r\n.\r\rb\r\n.\r\n", "a\r\n.\r\n\r\nb\r\n"),
        ("a\r\r\n..b\r\n.\r\n", "a\r\n.b\r\n"),
    ] {
        assert_eq!(stored(input.as_bytes()), (expected.to_owned(), Some(String::new())), "{input:?}");
    }
}

#[test]
fn a_run_of_crs_takes_no_memory() {
    let count = 2_000_000;
    let mut content = Content::new(u64::MAX, Ends::CrLfOnly);
    let mut stored = 0;
    for piece in [b"a: b\r\n\r\n".to_vec(), vec![b'\r'; count], b"x\r\n.\r\n".to_vec()] {
        let mut rest = piece.as_slice();
        while !rest.is_empty() {
            let (used, progress) = content.read(&rest[..rest.len().min(1000)]);
            rest = &rest[used..];
            assert!(held(&content) <= CHUNK_OCTETS + 1024);
            if let Progress::Chunk(Chunk { bytes, .. }) = progress {
                assert!(bytes.len() <= CHUNK_OCTETS + 1024);
                stored += bytes.len();
            }
        }
    }
    stored += content.take_rest().map_or(0, |chunk| chunk.bytes.len());
    assert_eq!(stored, 2 * count + 3);
    assert_eq!(content.complete().unwrap().head, b"a: b\r\n\r\n");
}

/// What never ends content (CVE-2023-51764 to 51766), each behind and before text that would be a second message.
const SMUGGLED_ENDS: [&str; 14] = [
    "\n.\n",
    "\n.\r\n",
    "\r\n.\n",
    "\r.\r",
    "\r.\r\n",
    "\r\n.\r",
    "\r\n.\r\r\n",
    "\r\n.\0\r\n",
    "\r\n\0.\r\n",
    "\r\n.\r\0\n",
    "\r\0\n.\r\n",
    "\r.\n",
    "\n.\r",
    "\r\n. \r\n",
];

#[test]
fn what_does_not_end_content_does_not_however_it_is_split() {
    for end in SMUGGLED_ENDS {
        let input = format!("a: b\r\n\r\ntext{end}MAIL FROM:<x@y>");
        for split in 1..input.len() {
            assert_eq!(read(input.as_bytes(), &[split], u64::MAX).1, None, "{end:?} split at {split}");
        }
        let (stored, rest) = stored(format!("{input}\r\n.\r\nNOOP").as_bytes());
        assert!(stored.contains("MAIL FROM:<x@y>\r\n"), "{end:?}: {stored:?}");
        assert_eq!(rest.as_deref(), Some("NOOP"), "{end:?}");
    }
}

#[test]
fn whoever_may_end_content_in_lf_lf_still_may_in_crlf_and_in_nothing_else() {
    let ends = |input: &str| {
        let mut content = Content::new(u64::MAX, Ends::LfToo);
        let (used, progress) = content.read(input.as_bytes());
        (progress == Progress::End).then(|| (input[used..].to_owned(), content.complete().unwrap()))
    };
    for (input, kept, is_noted) in [
        ("a\n.\nNOOP", "a\r\n", true),
        (".\nNOOP", "", true),
        ("a\n\n.\nNOOP", "a\r\n\r\n", true),
        ("a\r\n.\r\nNOOP", "a\r\n", false),
        ("a\n..\n.\nNOOP", "a\r\n.\r\n", true),
    ] {
        let (rest, complete) = ends(input).unwrap_or_else(|| panic!("{input:?} goes on"));
        assert_eq!((rest.as_str(), complete.head.as_slice()), ("NOOP", kept.as_bytes()), "{input:?}");
        assert_eq!(complete.quirks.contains(&Quirk::LfEnd), is_noted, "{input:?}");
    }
    for end in SMUGGLED_ENDS.into_iter().filter(|end| *end != "\n.\n") {
        assert_eq!(ends(&format!("a{end}b")), None, "{end:?}");
    }
}

#[test]
fn a_lone_dot_at_which_the_client_stopped_is_known() {
    use LoneDot::{BesideCrLf, BetweenLfs};
    for (input, dot) in [
        ("a\n.\n", Some(BetweenLfs)),
        (".\n", Some(BetweenLfs)),
        ("a\n.\r\n", Some(BesideCrLf)),
        ("a\r\n.\n", Some(BesideCrLf)),
        ("a\n.\nQUIT\n", Some(BetweenLfs)),
        ("a\n.\n\r\nquit\r\n", Some(BetweenLfs)),
        ("a\n.\nQUIT", Some(BetweenLfs)),
        ("a\n.\nQU", None),
        ("a\n.\nQUIT the hall\n", None),
        ("a\n.\nb\n", None),
        ("a\n.\nb\n.\n", Some(BetweenLfs)),
        ("a\n.", None),
        ("a\n", None),
        ("a\r.\r", None),
        ("", None),
    ] {
        for chunk in [1, 2, 3, 100] {
            let mut content = Content::new(u64::MAX, Ends::CrLfOnly);
            for piece in input.as_bytes().chunks(chunk) {
                let mut rest = piece;
                while !rest.is_empty() {
                    rest = &rest[content.read(rest).0..];
                }
            }
            assert_eq!(content.unterminated(), dot, "{input:?} in pieces of {chunk}");
        }
    }
}

#[test]
fn what_is_beside_the_rules_is_noted() {
    use Quirk::{BareLineEnds, EightBitBody, EightBitHeader, LongLines, NoHeader, Nul};
    let long = |count| format!("A: b\r\n\r\n{}\r\n", "x".repeat(count));
    let filler = "0123456789abcde\r\n".repeat(CHUNK_OCTETS / 10);
    for (input, expected) in [
        ("A: b\r\n".into(), vec![]),
        ("A: b\r\n\r\n..c\r\n".into(), vec![]),
        (String::new(), vec![NoHeader]),
        ("\r\nA: b\r\n".into(), vec![NoHeader]),
        ("hello\r\n".into(), vec![NoHeader]),
        ("A: b\r\nhello\r\n".into(), vec![NoHeader]),
        ("A: b\n\r\nc\r\n".into(), vec![BareLineEnds]),
        ("A: b\r\n\r\nc\rd\r\n".into(), vec![BareLineEnds]),
        ("A: b\r\r\n\r\r\nc\r\n".into(), vec![BareLineEnds]),
        ("A: b\r\n\r\nc\n.\r\nd\r\n".into(), vec![BareLineEnds]),
        (long(998), vec![]),
        (long(999), vec![LongLines]),
        ("A: b\r\n\r\nc\0\r\n".into(), vec![Nul]),
        ("A: ü\r\n\r\nc\r\n".into(), vec![EightBitHeader]),
        ("A: b\r\n\r\nü\r\n".into(), vec![EightBitBody]),
        ("A: b\r\nü\r\n".into(), vec![EightBitBody, NoHeader]),
        ("Mime-version: 1.0\r\n\r\nü\r\n".into(), vec![]),
        (format!("A: b\r\n\r\n{filler}ü\r\n"), vec![EightBitBody]),
        (format!("A: b\r\n\r\nü\r\n{filler}"), vec![EightBitBody]),
        (format!("Content-Type: text/plain\r\n\r\nü{filler}"), vec![]),
        (format!("A: b\r\n\r\n{filler}"), vec![]),
        (format!("A: b\r\n{filler}"), vec![NoHeader]),
        (filler.clone(), vec![NoHeader]),
    ] {
        for chunk in [1, 3, 1000, usize::MAX] {
            let mut content = Content::new(u64::MAX, Ends::CrLfOnly);
            for piece in [input.as_bytes(), b".\r\n"].concat().chunks(chunk) {
                let mut rest = piece;
                while !rest.is_empty() {
                    rest = &rest[content.read(rest).0..];
                }
            }
            content.take_rest();
            let start = input.chars().take(40).collect::<String>();
            assert_eq!(content.complete().unwrap().quirks, expected, "{start:?} in pieces of {chunk}");
        }
    }
}

#[test]
fn long_content_is_parted_behind_its_header() {
    let mut input = b"Subject: x\r\n\r\n".to_vec();
    input.extend(b"0123456789abcdef\r\n".repeat(40_000));
    let mut content = Content::new(u64::MAX, Ends::CrLfOnly);
    let mut chunks = Vec::new();
    let mut rest = input.as_slice();
    while !rest.is_empty() {
        let (used, progress) = content.read(&rest[..rest.len().min(10_000)]);
        rest = &rest[used..];
        assert!(held(&content) <= CHUNK_OCTETS + 10_000);
        if let Progress::Chunk(Chunk { seq, bytes }) = progress {
            chunks.push((seq, bytes));
        }
    }
    assert_eq!(content.read(b".\r\n").1, Progress::End);
    let Some(Chunk { seq, bytes }) = content.take_rest() else { panic!("there is a rest") };
    chunks.push((seq, bytes));
    let complete = content.complete().unwrap();
    assert_eq!((complete.head.as_slice(), complete.chunks), (b"Subject: x\r\n\r\n".as_slice(), 3));
    assert_eq!(complete.size, input.len() as u64);
    assert_eq!(chunks.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(chunks.iter().all(|(_, bytes)| bytes.len() <= CHUNK_OCTETS + 16));
    assert_eq!(chunks.into_iter().fold(complete.head, |all, (_, chunk)| [all, chunk].concat()), input);
}

#[test]
fn a_large_header_leaves_less_memory_to_the_chunks_behind_it() {
    let line = format!("X: {}\r\n", "x".repeat(75));
    for lines in [1, 2000, 3000, 3275] {
        let mut content = Content::new(u64::MAX, Ends::CrLfOnly);
        let input = format!("{}\r\n{}", line.repeat(lines), line.repeat(10_000));
        let mut rest = input.as_bytes();
        while !rest.is_empty() {
            let (used, _) = content.read(&rest[..rest.len().min(1024)]);
            rest = &rest[used..];
            let most = CHUNK_OCTETS.max(line.len() * lines + LEAST_CHUNK_OCTETS) + 1024;
            assert!(held(&content) <= most, "{lines}: {}", held(&content));
        }
    }
}

#[test]
fn the_header_of_long_content_ends_where_no_field_follows() {
    let long = vec![b'7'; 2 * CHUNK_OCTETS];
    for (header, body) in [
        ("Subject: x\r\n", b"1.5;2.5 3\r\n".repeat(40_000)),
        ("", b"1.5;2.5 3\r\n".repeat(40_000)),
        ("", [&long, &b"\r\n"[..]].concat()),
        ("A: b\r\n c\r\n", [b"hall 3: ", &long[..], b"\r\n"].concat()),
        ("\r\n", b"A: b\r\n".repeat(50_000)),
    ] {
        let input = [header.as_bytes(), &body, b".\r\n"].concat();
        let mut content = Content::new(u64::MAX, Ends::CrLfOnly);
        let mut rest = input.as_slice();
        while !rest.is_empty() {
            let (used, progress) = content.read(rest);
            assert!(!matches!(progress, Progress::Dropped { .. }), "{header:?}");
            rest = &rest[used..];
        }
        content.take_rest();
        assert_eq!(content.complete().unwrap().head, header.as_bytes());
    }
}

#[test]
fn what_is_too_large_is_read_to_its_end_and_dropped() {
    let over = [b"a: b\r\n\r\n".to_vec(), b"x\r\n".repeat(300_000), b".\r\nNOOP\r\n".to_vec()].concat();
    assert_eq!(read(&over, &[], 500_000), (Err(Dropped::TooLarge), Some(b"NOOP\r\n".to_vec())));
    assert!(read(&over, &[], 900_008).0.is_ok());
    assert_eq!(read(&over, &[], 900_007).0, Err(Dropped::TooLarge));
    let header = [b"a: b\r\n".repeat(50_000), b"\r\nbody\r\n.\r\nNOOP\r\n".to_vec()].concat();
    assert_eq!(read(&header, &[], u64::MAX), (Err(Dropped::HeaderTooLarge), Some(b"NOOP\r\n".to_vec())));
    let folded = [b"a: b\r\n".to_vec(), b" c\r\n".repeat(80_000), b"\r\n.\r\n".to_vec()].concat();
    assert_eq!(read(&folded, &[], u64::MAX).0, Err(Dropped::HeaderTooLarge));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn content_ends_where_the_reference_says(
        input in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), Just(b'a')], 0..60),
        sizes in proptest::collection::vec(1_usize..5, 0..60),
    ) {
        let (found, rest) = read(&input, &sizes, u64::MAX);
        match reference(&input) {
            Some((stored, after)) => prop_assert_eq!((found, rest), (Ok(stored), Some(after))),
            None => prop_assert_eq!(rest, None),
        }
    }

    #[test]
    fn stored_content_has_no_bare_line_end(
        input in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), any::<u8>()], 0..200),
    ) {
        let ended = [input, b"\r\n.\r\n".to_vec()].concat();
        let stored = read(&ended, &[], u64::MAX).0.unwrap();
        let crlf = stored.windows(2).filter(|window| window == b"\r\n").count();
        prop_assert_eq!(stored.iter().filter(|byte| **byte == b'\r').count(), crlf);
        prop_assert_eq!(stored.iter().filter(|byte| **byte == b'\n').count(), crlf);
    }
}
