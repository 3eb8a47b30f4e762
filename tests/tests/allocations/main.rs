//! What generated models allocate. It has no test harness: that tells of a test that takes long, which would be counted.

#[cfg(debug_assertions)]
mod checks;

#[cfg(debug_assertions)]
fn main() {
    checks::a_step_allocates_what_its_plan_says();
    println!("a step allocates what its plan says ... ok");
}

#[cfg(not(debug_assertions))]
fn main() {
    println!("skipped: products are counted only where debug assertions are");
}
