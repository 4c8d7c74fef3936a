//! A day and a half, in the test run; `make soak` plays two weeks.

use harbor_warmer_soak::run;
use harbor_warmer_soak::script::Scale;

#[test]
fn every_image_admitted_is_warm_and_tagged_and_nothing_is_fetched_twice_without_need() {
    let seed = std::env::var("SOAK_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("seed {seed} (SOAK_SEED sets it)");
    let outcome = run(Scale { days: 1, images: 40, seed }, |line| println!("{line}")).unwrap();
    println!("{outcome}");
    assert!(outcome.is_good());
}
