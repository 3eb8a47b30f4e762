//! Products of matrices against plain loops: tiles through shared memory, and tensor cores in every format and shape. And how fast the
//! interpreter is.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use cuda_sim::{Argument, Device, Geometry, Order};

/// `a b` in f64: `a` is `m` by `k`.
fn product(a: &[f32], b: &[f32], m: usize, n: usize, k: usize) -> Vec<f32> {
    let element = |row: usize, column: usize| -> f64 {
        (0..k).map(|at| f64::from(a[row * k + at]) * f64::from(b[at * n + column])).sum()
    };
    (0..m * n).map(|at| element(at / n, at % n) as f32).collect()
}

#[test]
fn tiles_with_ragged_edges() {
    let (m, n, k) = (40, 36, 52);
    let (a, b) = (common::noise(m * k, 1), common::noise(k * n, 2));
    let wanted = product(&a, &b, m, n, k);
    for (from, ptx) in common::ptx::texts("products", &[], Some("products")) {
        for order in [Order::Forward, Order::Reversed] {
            let mut device = Device::new();
            device.set_order(order);
            let module = device.load(&ptx).unwrap();
            let (a, b, c) = (device.upload(&a), device.upload(&b), device.alloc(4 * m * n));
            let geometry = Geometry { grid: [3, 3, 1], block: [16, 16, 1], dynamic_shared: 0 };
            let sizes = [m, n, k].map(|size| Argument::I32(size as i32));
            let arguments = [&[a, b, c].map(Argument::Pointer)[..], &sizes].concat();
            let counters =
                device.launch(&module, "tiled", geometry, &arguments).unwrap_or_else(|f| panic!("{from}: {f}"));
            // Sums of 52 products of numbers below 1 in f32.
            common::assert_close(&device.read(c, m * n).unwrap(), &wanted, 2e-6);
            assert_eq!(counters.fma, 9 * 256 * 64, "{from}");
            assert_eq!((counters.blocks, counters.barriers), (9, 9 * 8), "{from}");
            // The ends of two rows of 17 lie in one bank when a warp stores them; its loads have no conflicts.
            assert_eq!(counters.bank_conflicts, 9 * 8 * 4 * 2, "{from}");
        }
    }
}

/// Runs one warp of a kernel that leaves two products of 16 by 8.
fn two_products(ptx: &str, kernel: &str, upload: impl Fn(&mut Device) -> [u64; 2]) -> Vec<f32> {
    let mut device = Device::new();
    let module = device.load(ptx).unwrap();
    let [a, b] = upload(&mut device);
    let c = device.alloc(4 * 256);
    let geometry = Geometry { grid: [1, 1, 1], block: [32, 1, 1], dynamic_shared: 0 };
    let counters = device.launch(&module, kernel, geometry, &[a, b, c].map(Argument::Pointer)).unwrap();
    assert!(counters.mma >= 3, "{counters:?}");
    device.read(c, 256).unwrap()
}

#[test]
fn tensor_cores_on_tf32() {
    let (a, b) = (common::noise(256, 3), common::noise(128, 4));
    // To the nearest number with 10 bits after the first.
    let round = |values: &[f32]| -> Vec<f32> {
        values.iter().map(|value| f32::from_bits((value.to_bits() + 0x1000) & 0xffff_e000)).collect()
    };
    let wanted = product(&round(&a), &round(&b), 16, 8, 16);
    for (_, ptx) in common::ptx::texts("products", &[], Some("products")) {
        let found = two_products(&ptx, "tf32_product", |device| [device.upload(&a), device.upload(&b)]);
        // Rounded to f32 after each step.
        common::assert_close(&found[..128], &wanted, 1e-6);
        common::assert_close(&found[128..], &wanted, 1e-6);
    }
}

#[test]
fn tensor_cores_on_numbers_of_16_bits() {
    // Eighths are exact in both formats.
    let eighths = |count, seed| -> Vec<f32> {
        common::noise(count, seed).iter().map(|value| (value * 64.0).round() / 8.0).collect()
    };
    let (a, b) = (eighths(256, 5), eighths(128, 6));
    let wanted = product(&a, &b, 16, 8, 16);
    let bf16 = |value: f32| (value.to_bits() >> 16) as u16;
    // Of a number that is no subnormal: another bias, and fewer bits.
    let f16 = |value: f32| match value.to_bits() {
        bits if bits << 1 == 0 => 0,
        bits => (bits >> 16 & 0x8000) as u16 | ((bits >> 13 & 0x3_ffff) - (112 << 10)) as u16,
    };
    for (_, ptx) in common::ptx::texts("products", &[], Some("products")) {
        let formats: [(&str, &dyn Fn(f32) -> u16); 2] = [("bf16_product", &bf16), ("f16_product", &f16)];
        for (kernel, narrow) in formats {
            let narrow = |values: &[f32]| -> Vec<u16> { values.iter().map(|value| narrow(*value)).collect() };
            let found = two_products(&ptx, kernel, |device| [device.upload(&narrow(&a)), device.upload(&narrow(&b))]);
            assert_eq!(found[..128], wanted, "{kernel}");
            assert_eq!(found[128..], wanted, "{kernel}");
        }
    }
}

/// Prints how many instructions of lanes a second are executed, with all checks: see it with `--nocapture`.
#[test]
fn speed() {
    let size = 192;
    let texts = common::ptx::texts("products", &[], Some("products"));
    let (_, ptx) = texts.last().unwrap();
    let mut device = Device::new();
    let module = device.load(ptx).unwrap();
    let values = common::noise(size * size, 7);
    let (a, b, c) = (device.upload(&values), device.upload(&values), device.alloc(4 * size * size));
    let blocks = (size / 16) as u32;
    let geometry = Geometry { grid: [blocks, blocks, 1], block: [16, 16, 1], dynamic_shared: 0 };
    let arguments = [&[a, b, c].map(Argument::Pointer)[..], &[Argument::I32(size as i32); 3]].concat();
    let counters = device.launch(&module, "tiled", geometry, &arguments).unwrap();
    assert_eq!(counters.fma as usize, size * size * size);
    let rate = counters.lane_instructions as f64 / counters.nanoseconds as f64 * 1e3;
    println!("{} lane-instructions, {rate:.0} million a second", counters.lane_instructions);
}
