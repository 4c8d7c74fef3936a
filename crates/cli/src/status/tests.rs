use super::{render_attempts, render_image, render_list};
use crate::fixtures::{NOW, digest, summary, warming};
use crate::terminal::screen::Screen;
use harbor_warmer_core::problem::Problem;
use harbor_warmer_core::timestamp::Timestamp;
use harbor_warmer_core::view::{AttemptView, ImageList, StuckView};

fn list() -> ImageList {
    let mut announced = summary("a-3", "announced", None);
    (announced.root, announced.blobs_total) = (None, 0);
    let mut pinned = summary("i-2", "replicated", None);
    pinned.tags.clear();
    let failed = summary("i-1", "failed", Some("the upstream has no such tag\u{1b}[2J"));
    ImageList { images: vec![announced, pinned, failed], next: Some("i-1".to_owned()) }
}

#[test]
fn a_list_is_a_table() {
    insta::assert_snapshot!(render_list(&list(), NOW, &Screen::default()), @r"
    ID   IMAGE                                        PHASE       BLOBS     SIZE    ASKED  REASON
    a-3  main/hub/library/nginx:1.27                  announced       -        -  4 s ago
    i-2  main/hub/library/nginx@sha256:aaaaaaaaaaaa…  replicated    2/3  187 MiB  4 s ago
    i-1  main/hub/library/nginx:1.27                  failed        2/3  187 MiB  4 s ago  the upstream has no such tag [2J
    The newest 3 images; --limit shows more.
    ");
}

#[test]
fn a_list_fits_the_terminal() {
    let screen = Screen { width: Some(80), colour: false };
    let text = render_list(&list(), NOW, &screen);

    insta::assert_snapshot!(text, @r"
    ID   IMAGE                     PHASE       BLOBS     SIZE    ASKED  REASON
    a-3  …/hub/library/nginx:1.27  announced       -        -  4 s ago
    i-2  …nx@sha256:aaaaaaaaaaaa…  replicated    2/3  187 MiB  4 s ago
    i-1  …/hub/library/nginx:1.27  failed        2/3  187 MiB  4 s ago  the upstrea…
    The newest 3 images; --limit shows more.
    ");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn a_list_without_images_says_so() {
    assert_eq!(render_list(&ImageList::default(), NOW, &Screen::default()), "No image.\n");
}

#[test]
fn an_escape_sequence_in_a_reason_never_reaches_the_terminal() {
    assert!(!render_list(&list(), NOW, &Screen::default()).contains('\u{1b}'));
}

#[test]
fn an_image_is_shown_with_everything_about_it() {
    insta::assert_snapshot!(render_image(&warming(), NOW, &Screen::default()), @r"
    main/hub/library/nginx:1.27
      id         i-17
      digest     sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
      phase      warming
      reason     waiting for 1 blob
      content    2 of 3 blobs in Harbor, 45.1 MiB of 187 MiB
      asked for  first 95 s ago, last 4 s ago
      failures   1 since it was last seen to move
      next step  in 2 s
      new tags   none before 2026-09-28T14:11:45.000Z: Harbor has read this index

    Asked for by
      CLUSTER       TAG   PLATFORMS                TARGET      LAST  STATE
      cluster-a     1.27  linux/amd64              prod     4 s ago  warming
      command-line  -     linux/amd64,linux/arm64  -       95 s ago  queued

    Tags in Harbor
      TAG     RECORDED
      1.27    not yet   Harbor attaches it within 8 min
      latest  not yet   its index was read before; heals on 2026-10-01

    Manifests
      DIGEST                                                                   PLATFORM     WANTED                   READ  RECORDED
      sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb  linux/amd64  yes                  94 s ago         -
      sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc  -            completes the index         -         -

    Blobs
      DIGEST                                                                       SIZE  ASKED  IN HARBOR
      sha256:dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd  45.1 MiB     1×  92 s ago
      sha256:eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee    1000 B      -  93 s ago
      sha256:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff   142 MiB     2×  not yet

    Attempts that failed
      LAST                      TIMES  STEP        ERROR
      2026-09-21T14:12:45.000Z     1×  TouchBlobs  Harbor answered 500

    Timeline
      WHEN                       AFTER  WHAT
      2026-09-21T14:11:45.000Z   0.0 s  asked for
      2026-09-21T14:11:45.820Z   0.8 s  index read
      2026-09-21T14:13:20.000Z  95.0 s  waits to copy the blobs into Harbor
      cause  Harbor copies blobs
      cure   Nothing: a layer takes as long as Harbor's upstream needs to send it.
    ");
}

#[test]
fn an_image_that_is_stuck_ends_its_timeline_with_the_step_the_cause_and_the_cure() {
    let mut view = warming();
    let cause = "gave up: Harbor's upstream does not answer; look at the registry endpoint's status\u{1b}[2J";
    view.stuck =
        Some(StuckView::new("read the image's manifest".to_owned(), Problem::UpstreamSilent, cause.to_owned()));
    let text = render_image(&view, NOW, &Screen { width: Some(72), colour: false });
    insta::assert_snapshot!(text[text.find("Timeline").unwrap()..], @r"
    Timeline
      WHEN                       AFTER  WHAT
      2026-09-21T14:11:45.000Z   0.0 s  asked for
      2026-09-21T14:11:45.820Z   0.8 s  index read
      2026-09-21T14:13:20.000Z  95.0 s  stuck: can't read the image's manif…
      cause  gave up: Harbor's upstream does not answer; look at the
             registry endpoint's status [2J
      cure   Test the registry endpoint in Harbor (Administration,
             Registries), and Harbor's way to it. If other images of the
             project arrive, this repository is private or doesn't exist.
    ");
    assert!(text.lines().all(|line| line.chars().count() <= 72), "{text}");
}

#[test]
fn an_image_fits_the_terminal() {
    let text = render_image(&warming(), NOW, &Screen { width: Some(72), colour: false });
    let heading = text.lines().next().unwrap_or_default();
    assert_eq!(heading, "main/hub/library/nginx:1.27");
    assert!(text.lines().all(|line| line.chars().count() <= 72), "{text}");
}

#[test]
fn attempts_that_differ_in_the_blob_alone_are_one_line_with_their_count() {
    let mut view = warming();
    let attempt = |second: i64, step: String, error: &str| AttemptView {
        at: Timestamp::from_millis(NOW.as_millis() + second * 1_000),
        step,
        error: error.to_owned(),
    };
    let blob = |letter: char| format!("ask for the blob {}", digest(letter));
    view.attempts = vec![
        attempt(1, blob('a'), "Harbor answered 500"),
        attempt(2, blob('b'), "Harbor answered 500"),
        attempt(3, "HEAD tag 1.27".to_owned(), "Harbor did not answer within 30 s"),
        attempt(4, blob('a'), "Harbor answered 500"),
        attempt(5, blob('a'), "Harbor answered 502"),
    ];

    let text = render_attempts(&view, &Screen::default());

    let lines: Vec<Vec<&str>> =
        text.lines().map(|line| line.split("  ").filter(|cell| !cell.is_empty()).map(str::trim).collect()).collect();
    let (first, other) = (format!("{} and 1 like it", blob('a')), blob('a'));
    assert_eq!(
        lines,
        [
            vec!["LAST", "TIMES", "STEP", "ERROR"],
            vec!["2026-09-21T14:13:24.000Z", "3×", &first, "Harbor answered 500"],
            vec!["2026-09-21T14:13:23.000Z", "1×", "HEAD tag 1.27", "Harbor did not answer within 30 s"],
            vec!["2026-09-21T14:13:25.000Z", "1×", &other, "Harbor answered 502"],
        ]
    );
}
