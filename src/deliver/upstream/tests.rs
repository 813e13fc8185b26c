use std::time::Duration;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, duplex};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::*;
use crate::config::TlsMode;
use crate::deliver::peer::Act::{Content, Hear, Say, Silence, Wait};
use crate::deliver::peer::{Act, Heard, Replies, answer, endpoint, play};
use crate::schedule::attempt::TroubleKind;
use crate::smtp::ReversePath;

const LOGIN: &[Act] =
    &[Say(b"220 peer\r\n"), Hear("EHLO relay.example.com\r\n"), Say(b"250-peer\r\n250 AUTH LOGIN XOAUTH2\r\n")];
const HELLO: &[Act] = &[Say(b"220 peer\r\n"), Hear("EHLO relay.example.com\r\n"), Say(b"250 peer\r\n")];

async fn over(stream: tokio::io::DuplexStream, credentials: Option<Credentials>) -> Result<Upstream, Obstacle> {
    let timeouts = Timeouts::default();
    Upstream::over(stream, &endpoint(TlsMode::None), credentials, "peer:25".into(), &timeouts, &Unwatched).await
}

async fn scripted(
    parts: &[&[Act]],
    credentials: Option<Credentials>,
) -> (Result<Upstream, Obstacle>, JoinHandle<Heard>) {
    let (ours, theirs) = duplex(4096);
    let peer = tokio::spawn(play(theirs, parts.concat()));
    (over(ours, credentials).await, peer)
}

async fn answering(replies: Replies) -> (Upstream, JoinHandle<Heard>) {
    let (ours, theirs) = duplex(4096);
    let peer = tokio::spawn(answer(theirs, replies));
    (over(ours, None).await.unwrap(), peer)
}

fn envelope(recipients: usize) -> Envelope {
    let recipients = (0..recipients).map(|n| format!("r{n}@example.com").parse().unwrap()).collect();
    Envelope { reverse_path: ReversePath::Address("s@example.com".parse().unwrap()), recipients }
}

fn willing(recipients: usize) -> Replies {
    let rcpt = vec!["250 2.1.5 ok\r\n"; recipients];
    Replies { extensions: "", mail: "250 2.1.0 ok\r\n", rcpt, data: "354 go\r\n", end: b"250 2.0.0 taken\r\n" }
}

async fn transcript(replies: Replies, content: &[u8]) -> (Transcript, Upstream, JoinHandle<Heard>) {
    let recipients = replies.rcpt.len();
    let (mut upstream, peer) = answering(replies).await;
    let transcript = upstream.transact(&envelope(recipients), content, BodyKind::default()).await;
    (transcript, upstream, peer)
}

fn kind_of(end: End) -> (Step, TroubleKind) {
    match end {
        End::Stopped(Obstacle::Trouble(trouble)) => (trouble.step, trouble.kind),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn content_arrives_octet_for_octet() {
    let dots = b".\r\n".repeat(100_000); // longer than a block, with a dot at every place of its seams
    let mut table: Vec<(&[u8], &[u8])> = vec![
        (b"a\r\n.b", b"a\r\n.b\r\n"), // SMTP has no content that does not end a line
        (b".", b".\r\n"),
    ];
    for content in [&b""[..], b"\r\n", b"\r\n\r\n", b"a\r\n", b".\r\n", b"a\r\n.\r\nb\r\n", b"..\r\n...\r\n", &dots] {
        table.push((content, content));
    }
    for (content, wanted) in table {
        let (transcript, upstream, peer) = transcript(willing(1), content).await;
        assert_eq!(transcript.end, End::Accepted(Reply::new(250, "2.0.0 taken")));
        assert!(upstream.is_reusable());
        upstream.quit().await;
        let heard = peer.await.unwrap();
        assert!(heard.contents == [wanted], "{:?}", &content[..content.len().min(20)]);
        assert_eq!(heard.lines.last().unwrap(), "QUIT\r\n");
    }
}

#[tokio::test]
async fn a_login_that_is_repeated_to_us_is_not_told() {
    let refusal = b"500-5.5.1 Command unrecognized: \"c2VzYW1l\"\r\n500 5.5.1 or \"open SESAME\"\r\n";
    let nonsense = b"c2VzYW1l\r\n";
    for reply in [&refusal[..], nonsense] {
        let exchange = [
            Hear("AUTH LOGIN\r\n"),
            Say(b"334 VXNlcm5hbWU6\r\n"),
            Hear("dGlt\r\n"),
            Say(b"334 UGFzc3dvcmQ6\r\n"),
            Hear("c2VzYW1l\r\n"),
            Say(reply),
        ];
        let (opened, _peer) = scripted(&[LOGIN, &exchange], Some(Credentials::new("tim", "sesame"))).await;
        match opened.unwrap_err() {
            Obstacle::Refused { reply, .. } => {
                assert_eq!(reply.lines, ["5.5.1 Command unrecognized: \"…\"", "5.5.1 or \"open …\""]);
            }
            Obstacle::Trouble(trouble) => {
                assert!(trouble.detail.contains("\"…\" is not an SMTP reply"), "{trouble}");
            }
        }
    }
}

#[tokio::test]
async fn a_bare_line_end_is_not_sent() {
    for content in [&b"a\n.\r\nMAIL FROM:<x@y>\r\n"[..], b"a\r.\r\n", b"a\r", b"\n"] {
        let (transcript, upstream, peer) = transcript(willing(1), content).await;
        assert_eq!(kind_of(transcript.end), (Step::Content, TroubleKind::Local));
        drop(upstream);
        assert_eq!(peer.await.unwrap().lines.len(), 1, "only EHLO");
    }
}

#[tokio::test]
async fn only_what_is_offered_and_needed_is_asked_for() {
    let needs = BodyKind { eight_bit: true, smtp_utf8: true };
    for (extensions, body, wanted) in [
        ("", needs, "MAIL FROM:<>\r\n"),
        ("250-8BITMIME\r\n250-SMTPUTF8\r\n250-SIZE 9\r\n", needs, "MAIL FROM:<> SIZE=3 BODY=8BITMIME SMTPUTF8\r\n"),
        ("250-8BITMIME\r\n250-SMTPUTF8\r\n250-SIZE\r\n", BodyKind::default(), "MAIL FROM:<> SIZE=3\r\n"),
    ] {
        let (mut upstream, peer) = answering(Replies { extensions, ..willing(1) }).await;
        let recipients = vec!["\"odd one\"@[IPv6:::1]".parse().unwrap()];
        upstream.transact(&Envelope { reverse_path: ReversePath::Null, recipients }, b"x\r\n", body).await;
        upstream.quit().await;
        let lines = peer.await.unwrap().lines;
        assert_eq!(lines[1..3], [wanted, "RCPT TO:<\"odd one\"@[IPv6:::1]>\r\n"]);
    }
}

#[tokio::test]
async fn a_refused_recipient_does_not_stop_the_others() {
    let rcpt = vec!["550-5.1.1 gone\r\n550 5.1.1 for good\r\n", "250 ok\r\n", "452 4.5.3 too many\r\n"];
    let (transcript, upstream, _peer) = transcript(Replies { rcpt, ..willing(0) }, b"x\r\n").await;
    let gone = Reply { code: 550, lines: vec!["5.1.1 gone".into(), "5.1.1 for good".into()] };
    let wanted =
        [RcptResult::Refused(gone), RcptResult::Accepted, RcptResult::Refused(Reply::new(452, "4.5.3 too many"))];
    assert_eq!(transcript.recipients, wanted);
    assert_eq!(transcript.end, End::Accepted(Reply::new(250, "2.0.0 taken")));
    assert!(upstream.is_reusable());
}

#[tokio::test]
async fn without_recipients_no_content_goes_out_and_the_connection_is_reset() {
    for extensions in ["", "250-PIPELINING\r\n"] {
        let rcpt = vec!["550 no\r\n", "550 no\r\n", "250 yes\r\n"];
        let (mut upstream, peer) = answering(Replies { rcpt, extensions, ..willing(0) }).await;
        assert_eq!(upstream.transact(&envelope(2), b"x\r\n", BodyKind::default()).await.end, End::NoRecipient);
        assert!(upstream.is_reusable());
        let second = upstream.transact(&envelope(1), b"y\r\n", BodyKind::default()).await;
        assert_eq!(second.recipients, [RcptResult::Accepted]);
        upstream.quit().await;
        let heard = peer.await.unwrap();
        assert_eq!(heard.contents, [b"y\r\n"]);
        assert_eq!(heard.lines[4], "RSET\r\n");
    }
}

#[tokio::test]
async fn for_nobody_nothing_is_said() {
    let (transcript, upstream, peer) = transcript(willing(0), b"x\r\n").await;
    assert_eq!(transcript, Transcript { recipients: vec![], end: End::NoRecipient });
    assert!(upstream.is_reusable());
    drop(upstream);
    assert_eq!(peer.await.unwrap().lines.len(), 1, "only EHLO");
}

#[tokio::test]
async fn the_final_reply_is_known_exactly() {
    let refused = |reply| End::Stopped(Obstacle::Refused { step: Step::FinalReply, reply });
    let multi =
        Reply { code: 554, lines: vec!["5.2.252 SendAsDenied; a not".into(), "5.2.252 allowed to send as b".into()] };
    for (end, wanted, reusable) in [
        (&b"250 2.6.0 re\xe7u \xff\r\n"[..], End::Accepted(Reply::new(250, "2.6.0 re?u ?")), true),
        (b"250\r\n", End::Accepted(Reply::new(250, "")), true),
        (b"250 queued\n", End::Accepted(Reply::new(250, "queued")), true),
        (b"554-5.2.252 SendAsDenied; a not\r\n554 5.2.252 allowed to send as b\r\n", refused(multi), true),
        (b"451 4.7.0 later\r\n", refused(Reply::new(451, "4.7.0 later")), true),
        (b"421 4.7.0 closing\r\n", refused(Reply::new(421, "4.7.0 closing")), false),
        (b"250 fine\r\n250 and more\r\n", End::Accepted(Reply::new(250, "fine")), false),
        (b"250 fine\r\nrubbish\r\n", End::Accepted(Reply::new(250, "fine")), false),
    ] {
        let (transcript, upstream, _peer) = transcript(Replies { end, ..willing(1) }, b"x\r\n").await;
        assert_eq!((transcript.end, upstream.is_reusable()), (wanted, reusable));
    }
    for (end, kind) in
        [(&b""[..], TroubleKind::HungUp), (b"ok\r\n", TroubleKind::Protocol), (b"354 go\r\n", TroubleKind::Protocol)]
    {
        let (transcript, upstream, _peer) = transcript(Replies { end, ..willing(1) }, b"x\r\n").await;
        assert_eq!(kind_of(transcript.end), (Step::FinalReply, kind));
        assert!(!upstream.is_reusable());
    }
}

#[tokio::test]
async fn a_reply_that_comes_before_the_content_is_not_the_final_one() {
    let data = "354 go\r\n250 2.0.0 taken\r\n";
    let (transcript, upstream, _peer) = transcript(Replies { data, ..willing(1) }, b"x\r\n").await;
    assert_eq!(kind_of(transcript.end), (Step::Data, TroubleKind::Protocol));
    assert!(!upstream.is_reusable());
}

#[tokio::test]
async fn a_reply_to_nothing_is_not_taken_for_the_next_one() {
    let mail = "250 ok\r\n550 and more\r\n";
    let (first, upstream, _peer) = transcript(Replies { mail, ..willing(1) }, b"x\r\n").await;
    assert_eq!(first.recipients, [RcptResult::NotAsked]);
    assert_eq!(kind_of(first.end), (Step::Rcpt, TroubleKind::Protocol));
    assert!(!upstream.is_reusable());
    for (mail, data, step) in
        [("250 ok\r\n421 bye\r\n", "354 go\r\n", Step::Rcpt), ("250 ok\r\n", "354 go\r\n421 bye\r\n", Step::Data)]
    {
        let (transcript, upstream, _peer) = transcript(Replies { mail, data, ..willing(1) }, b"x\r\n").await;
        assert_eq!(transcript.end, End::Stopped(Obstacle::Refused { step, reply: Reply::new(421, "bye") }));
        assert!(!upstream.is_reusable());
    }
}

#[tokio::test(start_paused = true)]
async fn commands_are_sent_together_where_the_peer_takes_them_so() {
    let (open, first) =
        ([Say(b"220 x\r\n"), Hear("EHLO"), Say(b"250-x\r\n250 PIPELINING\r\n"), Hear("MAIL")], [Hear("RCPT"); 99]);
    let replies: [&[Act]; 2] = [&[Say(b"250 ok\r\n"); 100], &[Hear("RCPT"), Say(b"250 ok\r\n")]];
    let end = [Hear("DATA"), Say(b"354 go\r\n"), Content, Say(b"250 ok\r\n")];
    let (upstream, peer) = scripted(&[&open, &first, replies[0], replies[1], &end], None).await;
    let transcript = upstream.unwrap().transact(&envelope(100), b"x\r\n", BodyKind::default()).await;
    assert_eq!(transcript.recipients, vec![RcptResult::Accepted; 100]);
    assert_eq!(peer.await.unwrap().contents.len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn pipelining_changes_no_transcript(
        mail in prop::sample::select(
            vec!["250 ok\r\n", "250 ok\r\n", "250 ok\r\n", "550 5.7.1 no\r\n", "421 bye\r\n", "354 odd\r\n", ""],
        ),
        rcpt in prop::collection::vec(
            prop::sample::select(vec![
                "250 ok\r\n", "251 ok\r\n", "550-no\r\n550 no\r\n", "452 4.5.3 no\r\n",
                "421 bye\r\n", "354 odd\r\n", "huh\r\n", "",
            ]),
            1..6,
        ),
        data in prop::sample::select(vec!["354 go\r\n", "354 go\r\n", "451 no\r\n", "421 bye\r\n", "250 odd\r\n", ""]),
        end in prop::sample::select(vec![&b"250 ok\r\n"[..], b"554 no\r\n", b"421 bye\r\n", b""]),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let run = |extensions| {
            let replies = Replies { extensions, mail, rcpt: rcpt.clone(), data, end };
            runtime.block_on(async {
                let (transcript, upstream, _peer) = transcript(replies, b"x\r\n").await;
                (transcript, upstream.is_reusable())
            })
        };
        prop_assert_eq!(run(""), run("250-PIPELINING\r\n"));
    }
}

#[tokio::test]
async fn recipients_behind_421_were_not_asked() {
    let rcpt = vec!["250 ok\r\n", "421 4.7.0 too many connections\r\n", "250 ok\r\n"];
    let (transcript, upstream, _peer) = transcript(Replies { rcpt, ..willing(0) }, b"x\r\n").await;
    assert_eq!(transcript.recipients, [RcptResult::Accepted, RcptResult::NotAsked, RcptResult::NotAsked]);
    let reply = Reply::new(421, "4.7.0 too many connections");
    assert_eq!(transcript.end, End::Stopped(Obstacle::Refused { step: Step::Rcpt, reply }));
    assert!(!upstream.is_reusable());
}

#[tokio::test]
async fn login_says_what_microsoft_365_wants_to_hear() {
    let rest = [
        Hear("AUTH LOGIN\r\n"),
        Say(b"334 VXNlcm5hbWU6\r\n"),
        Hear("dGlt\r\n"),
        Say(b"334 UGFzc3dvcmQ6\r\n"),
        Hear("c2VjcmV0\r\n"),
        Say(b"235 2.7.0 Authentication successful\r\n"),
    ];
    let (upstream, peer) = scripted(&[LOGIN, &rest], Some(Credentials::new("tim", "secret"))).await;
    assert!(upstream.unwrap().is_reusable());
    assert_eq!(peer.await.unwrap().lines.len(), 4);
}

#[tokio::test]
async fn a_refused_login_is_told_as_it_was_said() {
    let reply = b"535-5.7.139 Authentication unsuccessful,\r\n535 5.7.139 basic authentication is disabled.\r\n";
    let (upstream, _peer) =
        scripted(&[LOGIN, &[Hear("AUTH LOGIN"), Say(reply)]], Some(Credentials::new("tim", "secret"))).await;
    let lines = ["5.7.139 Authentication unsuccessful,", "5.7.139 basic authentication is disabled."];
    let reply = Reply { code: 535, lines: lines.map(str::to_owned).to_vec() };
    assert_eq!(upstream.unwrap_err(), Obstacle::Refused { step: Step::Auth, reply });
}

fn bearer() -> Credentials {
    let token = "EwBAAl3BAAUFFpUAo7J3Ve0bjLBWZWCclRC3EoAA".into();
    Credentials::bearer("test@contoso.onmicrosoft.com", token, &[Mechanism::Xoauth2])
}

const BLOB: &str = "dXNlcj10ZXN0QGNvbnRvc28ub25taWNyb3NvZnQuY29tAWF1dGg9QmVhcmVyIEV3QkFBbDNCQUFVRkZwVUFvN0ozVmUwYmpM\
                    QldaV0NjbFJDM0VvQUEBAQ==\r\n";

#[tokio::test]
async fn a_token_answers_the_challenge_as_microsoft_wants_it() {
    let rest =
        [Hear("AUTH XOAUTH2\r\n"), Say(b"334 \r\n"), Hear(BLOB), Say(b"235 2.7.0 Authentication successful\r\n")];
    let (upstream, peer) = scripted(&[LOGIN, &rest], Some(bearer())).await;
    assert!(upstream.unwrap().is_reusable());
    assert_eq!(peer.await.unwrap().lines.len(), 3);
}

#[tokio::test]
async fn a_refused_token_is_told_with_the_reason_and_without_the_token() {
    // {"status":"400","schemes":"Bearer"}
    let google = [
        Say(b"334 eyJzdGF0dXMiOiI0MDAiLCJzY2hlbWVzIjoiQmVhcmVyIn0=\r\n"),
        Hear("\r\n"),
        Say(b"535 5.7.8 Username and Password not accepted, EwBAAl3BAAUFFpUAo7J3Ve0bjLBWZWCclRC3EoAA\r\n"),
    ];
    let microsoft = [Say(b"535 5.7.3 Authentication unsuccessful: dXNlcj10ZXN0QGNvbnRvc28ub25\r\n")];
    for (script, wanted) in [
        (
            &google[..],
            &["5.7.8 Username and Password not accepted, …", r#"(the reason: {"status":"400","schemes":"Bearer"})"#][..],
        ),
        (&microsoft[..], &["5.7.3 Authentication unsuccessful: …"][..]),
    ] {
        let begin = [Hear("AUTH XOAUTH2\r\n"), Say(b"334 \r\n"), Hear(BLOB)];
        let (upstream, _peer) = scripted(&[LOGIN, &begin, script], Some(bearer())).await;
        let Err(Obstacle::Refused { step: Step::Auth, reply }) = upstream else { panic!("{upstream:?}") };
        assert_eq!((reply.code, reply.lines), (535, wanted.iter().map(|line| (*line).to_owned()).collect()));
    }
}

#[tokio::test]
async fn without_a_mechanism_that_we_know_there_is_no_login() {
    let open = [Say(b"220 x\r\n"), Hear("EHLO"), Say(b"250-x\r\n250 AUTH XOAUTH2 GSSAPI\r\n")];
    let (upstream, _peer) = scripted(&[&open], Some(Credentials::new("tim", "secret"))).await;
    let Err(Obstacle::Trouble(trouble)) = upstream else { panic!("{upstream:?}") };
    assert_eq!((trouble.step, trouble.kind), (Step::Auth, TroubleKind::Protocol));
    assert!(trouble.detail.contains("XOAUTH2, GSSAPI"), "{trouble}");
}

#[tokio::test]
async fn a_refused_hello_is_told_as_it_was_said() {
    let (upstream, _peer) = scripted(&[&[Say(b"220 x\r\n"), Hear("EHLO"), Say(b"550 5.7.1 go away\r\n")]], None).await;
    assert_eq!(upstream.unwrap_err(), Obstacle::Refused { step: Step::Ehlo, reply: Reply::new(550, "5.7.1 go away") });
}

#[tokio::test(start_paused = true)]
async fn each_step_has_its_own_limit() {
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let (mail, rcpt, data) =
        ([Hear("MAIL"), Say(b"250 ok\r\n")], [Hear("RCPT"), Say(b"250 ok\r\n")], [Hear("DATA"), Say(b"354 go\r\n")]);
    let table: [(&[&[Act]], Step, Duration); 7] = [
        (&[&[]], Step::Greeting, minutes(5)),
        (&[&HELLO[..2]], Step::Ehlo, minutes(5)),
        (&[LOGIN, &[Hear("AUTH LOGIN")]], Step::Auth, minutes(2)),
        (&[HELLO, &mail[..1]], Step::Mail, minutes(5)),
        (&[HELLO, &mail, &rcpt[..1]], Step::Rcpt, minutes(5)),
        (&[HELLO, &mail, &rcpt, &data[..1]], Step::Data, minutes(2)),
        (&[HELLO, &mail, &rcpt, &data, &[Content]], Step::FinalReply, minutes(10)),
    ];
    for (script, step, limit) in table {
        let started = Instant::now();
        let credentials = (step == Step::Auth).then(|| Credentials::new("tim", "secret"));
        let (upstream, _peer) = scripted(&[&script.concat(), &[Silence]], credentials).await;
        let end = match upstream {
            Ok(mut upstream) => upstream.transact(&envelope(1), b"x\r\n", BodyKind::default()).await.end,
            Err(obstacle) => End::Stopped(obstacle),
        };
        assert_eq!(kind_of(end), (step, TroubleKind::TimedOut));
        assert_eq!(started.elapsed().as_secs(), limit.as_secs(), "{step}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_stops_taking_content_is_given_up_after_a_block_s_time() {
    let started = Instant::now();
    let script =
        [Hear("MAIL"), Say(b"250 ok\r\n"), Hear("RCPT"), Say(b"250 ok\r\n"), Hear("DATA"), Say(b"354 go\r\n"), Silence];
    let (upstream, _peer) = scripted(&[HELLO, &script], None).await;
    let transcript = upstream.unwrap().transact(&envelope(1), &b"x\r\n".repeat(100_000), BodyKind::default()).await;
    assert_eq!(kind_of(transcript.end), (Step::Content, TroubleKind::TimedOut));
    assert_eq!(started.elapsed().as_secs(), 180);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_content_in_drops_is_given_up_after_a_time_that_grows_with_size() {
    let (ours, mut theirs) = duplex(1024);
    tokio::spawn(async move {
        for said in ["220 x\r\n", "250 x\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n"] {
            tokio::io::AsyncWriteExt::write_all(&mut theirs, said.as_bytes()).await.unwrap();
            if !said.starts_with('3') {
                while theirs.read_u8().await.unwrap() != b'\n' {}
            }
        }
        let mut drop = [0; 1024];
        while theirs.read(&mut drop).await.is_ok_and(|length| length > 0) {
            tokio::time::sleep(Duration::from_secs(2)).await; // 64 KiB in 128 s: each block is in time
        }
    });
    let mut upstream = over(ours, None).await.unwrap();
    let started = Instant::now();
    let content = b"x\r\n".repeat(1_000_000);
    let transcript = upstream.transact(&envelope(1), &content, BodyKind::default()).await;
    assert_eq!(kind_of(transcript.end), (Step::Content, TroubleKind::TimedOut));
    assert_eq!(started.elapsed().as_secs(), Timeouts::default().content(content.len() - 2).as_secs());
}

#[tokio::test]
async fn a_peer_that_breaks_off_within_the_content_leaves_no_doubt() {
    let script = [
        Hear("MAIL"),
        Say(b"250 ok\r\n"),
        Hear("RCPT"),
        Say(b"250 ok\r\n"),
        Hear("DATA"),
        Say(b"354 go\r\n"),
        Hear("x"),
    ];
    for (last, wanted) in [
        (&[][..], None),
        (&[Say(b"552 5.3.4 too big\r\n")][..], Some(Reply::new(552, "5.3.4 too big"))),
        (&[Say(b"250 2.0.0 taken\r\n")][..], None),
    ] {
        let (upstream, _peer) = scripted(&[HELLO, &script, last], None).await;
        let mut upstream = upstream.unwrap();
        let end = upstream.transact(&envelope(1), &b"x\r\n".repeat(100_000), BodyKind::default()).await.end;
        match (end, wanted) {
            (End::Stopped(Obstacle::Refused { step, reply }), Some(wanted)) => {
                assert_eq!((step, reply), (Step::Content, wanted))
            }
            (End::Stopped(Obstacle::Trouble(trouble)), None) => assert_eq!(trouble.step, Step::Content),
            other => panic!("{other:?}"),
        }
        assert!(!upstream.is_reusable());
    }
}

#[tokio::test(start_paused = true)]
async fn a_transaction_dropped_halfway_ends_the_session() {
    let (upstream, _peer) = scripted(&[HELLO, &[Hear("MAIL"), Silence]], None).await;
    let mut upstream = upstream.unwrap();
    let envelope = envelope(1);
    let given_up = upstream.transact(&envelope, b"x\r\n", BodyKind::default());
    assert!(tokio::time::timeout(Duration::from_secs(1), given_up).await.is_err());
    assert!(!upstream.is_reusable());
}

#[tokio::test(start_paused = true)]
async fn the_slowest_peer_still_ends_within_the_sum() {
    let timeouts = Timeouts::default();
    let late = |limit: Duration| Wait(limit.saturating_sub(Duration::from_secs(1)));
    let open = [late(timeouts.greeting), Say(b"220 x\r\n"), Hear("EHLO"), late(timeouts.ehlo), Say(b"250 x\r\n")];
    let mail = [Hear("MAIL"), late(timeouts.mail), Say(b"250 ok\r\n")];
    let rcpt =
        [Hear("RCPT"), late(timeouts.rcpt), Say(b"550 no\r\n"), Hear("RCPT"), late(timeouts.rcpt), Say(b"250 ok\r\n")];
    let data = [
        Hear("DATA"),
        late(timeouts.data),
        Say(b"354 go\r\n"),
        Content,
        late(timeouts.final_reply),
        Say(b"250 ok\r\n"),
    ];
    let started = Instant::now();
    let (upstream, _peer) = scripted(&[&open, &mail, &rcpt, &data], None).await;
    let mut upstream = upstream.unwrap();
    assert!(started.elapsed() < timeouts.opening());
    let started = Instant::now();
    let transcript = upstream.transact(&envelope(2), b"x\r\n", BodyKind::default()).await;
    assert_eq!(transcript.end, End::Accepted(Reply::new(250, "ok")));
    let (took, most) = (started.elapsed(), timeouts.transaction(2, 3));
    assert!(took < most && took > most - timeouts.block - Duration::from_secs(12), "{took:?} of {most:?}");
}
