//! What kernels do, one thing after another, against the same in Rust. NVRTC decides which instructions these become, so it is compiled anew
//! for each device: without NVRTC there is nothing to do, and a line says so.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::sync::LazyLock;

use cuda_sim::{Argument, Device, Geometry, Module, Number};

const N: usize = 200;

/// Calls `test` with the module of `broad.cu`, once for each device that it is compiled for.
fn for_each_module(test: impl Fn(&mut Device, &Module)) {
    static TEXTS: LazyLock<Vec<(String, String)>> = LazyLock::new(|| common::ptx::texts("broad", &[], None));
    for (from, ptx) in TEXTS.iter() {
        let mut device = Device::new();
        let module = device.load(ptx).unwrap_or_else(|finding| panic!("{from}: {finding}"));
        test(&mut device, &module);
    }
}

/// Runs a kernel of `N` threads that leaves `rows` rows, from the addresses of its inputs.
fn rows<T: Number>(device: &mut Device, module: &Module, kernel: &str, inputs: &[u64], rows: usize) -> Vec<Vec<T>> {
    let y = device.alloc(rows * N * size_of::<T>());
    let geometry = Geometry { grid: [4, 1, 1], block: [64, 1, 1], dynamic_shared: 0 };
    let pointers = inputs.iter().chain([&y]).map(|&address| Argument::Pointer(address));
    let arguments: Vec<Argument> = pointers.chain([Argument::I32(N as i32)]).collect();
    device.launch(module, kernel, geometry, &arguments).unwrap_or_else(|finding| panic!("{finding}"));
    device.read::<T>(y, rows * N).unwrap().chunks_exact(N).map(<[T]>::to_vec).collect()
}

/// Of one float.
type Function = dyn Fn(f32) -> f32;

#[test]
fn floats() {
    // In f64, where it is not a matter of one rounding.
    let wide = |f: fn(f64) -> f64| move |v: f32| f(v.into()) as f32;
    let exact = 0.0;
    // CUDA's functions are within a few units of the last place; its fast ones, and what nearly cancels, within these.
    let (near, fast) = (1e-6, 4e-6);
    let wanted: Vec<(f32, Box<Function>)> = vec![
        (near, Box::new(wide(f64::sin))),
        (near, Box::new(wide(f64::cos))),
        (near, Box::new(wide(f64::tan))),
        (near, Box::new(|v| f64::from(v * 1e5).sin() as f32)),
        (near, Box::new(wide(f64::exp))),
        (near, Box::new(wide(f64::exp2))),
        (near, Box::new(wide(f64::exp_m1))),
        (near, Box::new(wide(|v| v.abs().ln()))),
        (near, Box::new(wide(|v| v.abs().log2()))),
        (near, Box::new(wide(|v| v.abs().ln_1p()))),
        (near, Box::new(|v| f64::from(v).abs().powf(1.7f32.into()) as f32)),
        (near, Box::new(wide(f64::tanh))),
        (near, Box::new(wide(f64::sinh))),
        (exact, Box::new(|v| v.abs().sqrt())),
        (near, Box::new(wide(|v| 1.0 / v.abs().sqrt()))),
        (near, Box::new(wide(f64::cbrt))),
        (near, Box::new(wide(|v| v.hypot(2.0)))),
        (near, Box::new(wide(|v| v.atan2(2.0)))),
        (near, Box::new(wide(|v| (v / 8.0).asin()))),
        (exact, Box::new(|v| v % 0.3)),
        (exact, Box::new(f32::floor)),
        (exact, Box::new(f32::ceil)),
        (exact, Box::new(f32::round_ties_even)),
        (exact, Box::new(f32::round)),
        (exact, Box::new(f32::trunc)),
        (exact, Box::new(|v| v.max(0.1))),
        (exact, Box::new(|v| v.min(0.1))),
        (exact, Box::new(|v| v.clamp(0.0, 1.0))),
        (exact, Box::new(|v| 2f32.copysign(v))),
        (exact, Box::new(|v| v * 8.0)),
        (fast, Box::new(wide(f64::exp))),
        (fast, Box::new(wide(|v| v.abs().ln()))),
        (fast, Box::new(|v| v / 3.0)),
        (exact, Box::new(|v| 1.0 / v)),
        (exact, Box::new(|v| v / 3.0)),
        (exact, Box::new(|v| v.mul_add(v, 0.1))),
        (exact, Box::new(|v| toward(f64::from(v) + f64::from(0.1f32), f64::abs))),
        (exact, Box::new(|v| toward(f64::from(v) * f64::from(0.1f32), |value| -value))),
        (exact, Box::new(f32::trunc)),
        (exact, Box::new(|v| v.abs().trunc())),
        (exact, Box::new(|v| (v * 100.0).round_ties_even())),
        (exact, Box::new(|v| (v * 1e10) as i64 as f32)),
        (exact, Box::new(|v| v)),
        (exact, Box::new(wide(|v| v / 3.0 + v.abs().sqrt()))),
        (exact, Box::new(|v| if v > 0.0 { 2.0 } else { 3.0 })),
        (near, Box::new(wide(|v| 1.0 / (1.0 + (-v).exp())))),
    ];
    let x: Vec<f32> = common::noise(N, 1).iter().map(|value| value * 6.0).collect();
    for_each_module(|device, module| {
        let input = device.upload(&x);
        let found = rows::<f32>(device, module, "floats", &[input], wanted.len());
        for (row, (found, (tolerance, wanted))) in found.iter().zip(&wanted).enumerate() {
            for (&x, &found) in x.iter().zip(found) {
                let wanted = wanted(x);
                let close = (found - wanted).abs() <= tolerance * (1.0 + wanted.abs());
                assert!(close, "row {row} of {x}: {found}, not {wanted}");
            }
        }
    });
}

/// The f32 next to a value whose `key` is not more than that of the value.
fn toward(value: f64, key: fn(f64) -> f64) -> f32 {
    let near = value as f32;
    [near, near.next_down(), near.next_up()].into_iter().find(|near| key((*near).into()) <= key(value)).unwrap()
}

#[test]
fn integers() {
    let signed = |f: fn(i32, i32) -> i32| move |u: u32, w: u32| f(u as i32, w as i32) as u32;
    let joined = |u: u32, w: u32| u64::from(w) << 32 | u64::from(u);
    let wanted: Vec<Box<dyn Fn(u32, u32) -> u32>> = vec![
        Box::new(u32::wrapping_add),
        Box::new(u32::wrapping_mul),
        Box::new(|u, w| u / w),
        Box::new(|u, w| u % w),
        Box::new(|u, _| u / 10),
        Box::new(signed(|v, _| v / 7)),
        Box::new(signed(|v, _| v % 7)),
        Box::new(signed(|v, z| v / z)),
        Box::new(signed(|v, z| v % z)),
        Box::new(signed(i32::min)),
        Box::new(u32::max),
        Box::new(signed(|v, _| v.abs())),
        Box::new(|u, w| ((i64::from(u as i32) * i64::from(w as i32)) >> 32) as u32),
        Box::new(|u, w| ((u64::from(u) * u64::from(w)) >> 32) as u32),
        Box::new(|u, w| u << (w & 31)),
        Box::new(signed(|v, z| v >> (z & 31))),
        Box::new(|u, w| u >> (w & 31)),
        Box::new(|u, _| u.count_ones()),
        Box::new(|u, _| u.leading_zeros()),
        Box::new(|u, _| u.reverse_bits()),
        Box::new(|u, _| if u == 0 { 0 } else { u.trailing_zeros() + 1 }),
        Box::new(move |u, w| {
            let bytes = joined(u, w).to_le_bytes();
            u32::from_le_bytes([bytes[4], bytes[5], bytes[2], bytes[3]])
        }),
        Box::new(move |u, w| (joined(u, w) << 7 >> 32) as u32),
        Box::new(move |u, w| (joined(u, w) >> (w & 31)) as u32),
        Box::new(|u, w| u.abs_diff(w).wrapping_add(1)),
        Box::new(|u, w| (u & w) | (!u & 0x5555)),
        Box::new(|u, w| u ^ w ^ 0x1234),
        Box::new(|u, _| u >> 5 & 0xff),
        Box::new(|u, w| (u & !0xff00) | (w & 0xff) << 8),
        Box::new(signed(|v, _| v << 12 >> 20)),
        Box::new(signed(|v, z| {
            if v == z {
                1
            } else if v < z {
                2
            } else {
                3
            }
        })),
        Box::new(|u, w| (u & 0xffff) * (w & 0xffff)),
        Box::new(|u, _| i32::from(u as i16 / 3) as u32),
        Box::new(|u, _| i32::from(u as i8) as u32),
        Box::new(|u, w| {
            let (u, w) = (u.to_le_bytes(), w.to_le_bytes());
            u32::from_le_bytes(std::array::from_fn(|at| u[at].wrapping_add(w[at])))
        }),
    ];
    let x: Vec<u32> = bits(5).iter().map(|&bits| bits as u32 | 1).collect();
    for_each_module(|device, module| {
        let input = device.upload(&x);
        let found = rows::<u32>(device, module, "integers", &[input], wanted.len());
        for (row, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
            for at in 0..N {
                let (u, w) = (x[at], x[(at + 1) % N]);
                assert_eq!(found[at], wanted(u, w), "row {row} of {u:#x} and {w:#x}");
            }
        }
    });
}

/// Numbers of 64 bits, some of which are small.
fn bits(seed: u32) -> Vec<u64> {
    let mut state = u64::from(seed);
    let mut next = || {
        // The finalizer of SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    };
    (0..N).map(|at| next() >> if at % 3 == 0 { 40 } else { 0 }).collect()
}

#[test]
fn wide_integers() {
    let signed = |f: fn(i64, i64) -> i64| move |u: u64, w: u64| f(u as i64, w as i64) as u64;
    let wanted: Vec<Box<dyn Fn(u64, u64) -> u64>> = vec![
        Box::new(u64::wrapping_add),
        Box::new(u64::wrapping_mul),
        Box::new(|u, w| u / w),
        Box::new(|u, w| u % w),
        Box::new(|u, _| u / 1000),
        Box::new(signed(|v, z| v / z)),
        Box::new(signed(|v, _| v % 13)),
        Box::new(signed(i64::min)),
        Box::new(|u, w| ((u128::from(u) * u128::from(w)) >> 64) as u64),
        Box::new(|u, w| ((i128::from(u as i64) * i128::from(w as i64)) >> 64) as u64),
        Box::new(|u, w| u << (w & 63)),
        Box::new(signed(|v, z| v >> (z & 63))),
        Box::new(|u, _| u.count_ones().into()),
        Box::new(|u, _| u.leading_zeros().into()),
        Box::new(|u, _| u.reverse_bits()),
        Box::new(|u, _| if u == 0 { 0 } else { u64::from(u.trailing_zeros()) + 1 }),
        Box::new(|u, w| u64::from(u as u32) * u64::from(w as u32)),
        Box::new(|u, w| (i64::from(u as i32).wrapping_mul((w as i32).into())).wrapping_add(w as i64) as u64),
    ];
    let x: Vec<u64> = bits(6).iter().map(|bits| bits | 1).collect();
    for_each_module(|device, module| {
        let input = device.upload(&x);
        let found = rows::<u64>(device, module, "wide_integers", &[input], wanted.len());
        for (row, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
            for at in 0..N {
                let (u, w) = (x[at], x[(at + 1) % N]);
                assert_eq!(found[at], wanted(u, w), "row {row} of {u:#x} and {w:#x}");
            }
        }
    });
}

#[test]
fn memories_and_calls() {
    let x: Vec<i32> = (0..N as i32).map(|at| at * 7 % 61).collect();
    for_each_module(|device, module| {
        let input = device.upload(&x);
        let found = rows::<f32>(device, module, "memories", &[input], 5);
        for (at, &x) in x.iter().enumerate() {
            let mut a: [f32; 16] = std::array::from_fn(|k| (k + at) as f32);
            a[x as usize & 15] += 0.5;
            let sum: f32 = (0..16).map(|k| a[(k * x as usize) & 15]).sum();
            let choice = match x % 12 {
                0 => 3.0,
                1 => sum * 2.0,
                2 => -1.0,
                3 => (x / 3) as f32,
                4 => (x ^ 21) as f32,
                5 => sum - 1.0,
                6 => (x << 2) as f32,
                _ => 0.0,
            };
            let steps: f32 = (0..x & 7).map(|k| 0.5 * k as f32).sum();
            let wanted = [sum, (x % 5 + 1) as f32, (x + 7) as f32, steps, choice];
            assert_eq!(found.iter().map(|row| row[at]).collect::<Vec<_>>(), wanted, "at {at}, {x}");
        }
    });
}

#[test]
fn bytes_halves_and_vectors() {
    let bytes: Vec<u8> = (0..N).map(|at| (at * 37 % 256) as u8).collect();
    let (fours, pairs) = (common::noise(4 * N, 7), common::noise(2 * N, 8));
    let bf16 = |value: f32| {
        let bits = value.to_bits();
        f32::from_bits((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000)
    };
    for_each_module(|device, module| {
        let inputs = [device.upload(&bytes), device.upload(&fours), device.upload(&pairs)];
        let found = rows::<f32>(device, module, "sizes", &inputs, 7);
        for at in 0..N {
            let ([x, y, z, w], [a, b]) = ([0, 1, 2, 3].map(|k| fours[4 * at + k]), [0, 1].map(|k| pairs[2 * at + k]));
            let wanted = [
                (f32::from(bytes[at]) / 255.0 - 0.5) / 0.25,
                // The compiler joins a product with the sum.
                x.mul_add(a, y * b),
                z - w,
                bf16(x),
                bf16(2.0 * bf16(z)),
                bf16(2.0 * bf16(y)),
            ];
            assert_eq!(found[..6].iter().map(|row| row[at]).collect::<Vec<_>>(), wanted, "at {at}");
            // 11 bits.
            assert!((found[6][at] - w).abs() <= w.abs() / 2048.0 + 1e-7, "at {at}: {} of {w}", found[6][at]);
        }
    });
}

#[test]
fn a_structure_is_a_parameter() {
    // What the kernel takes is laid out as C does: an int, six floats, a gap, an address.
    for_each_module(|device, module| {
        assert!(module.kernels().any(|name| name == "structure"));
        let p = device.upload(&[2f32; 32]);
        let y = device.alloc(4 * 32);
        let mut params = vec![];
        params.extend(5i32.to_le_bytes());
        (0..6).for_each(|weight| params.extend((weight as f32).to_le_bytes()));
        params.extend([0; 4]);
        params.extend(p.to_le_bytes());
        let geometry = Geometry { grid: [1, 1, 1], block: [32, 1, 1], dynamic_shared: 0 };
        let arguments = [Argument::Bytes(&params), Argument::Pointer(y), Argument::I32(3)];
        device.launch(module, "structure", geometry, &arguments).unwrap();
        let wanted: Vec<f32> = (0..32).map(|i| 5.0 + ((i + 3) % 6) as f32 * 2.0).collect();
        assert_eq!(device.read::<f32>(y, 32).unwrap(), wanted);
    });
}

#[test]
fn lanes_tell_each_other() {
    let x: Vec<i32> = (0..64).map(|at| at * 29 % 100).collect();
    let warp = |at: usize| at / 32 * 32..at / 32 * 32 + 32;
    let mask = |at: usize, f: &dyn Fn(usize) -> bool| {
        warp(at).filter(|&other| f(other)).fold(0u32, |mask, other| mask | 1 << (other % 32)) as i32
    };
    let wanted = |at: usize| -> Vec<i32> {
        let (lane, v) = (at % 32, x[at]);
        let sum: i32 = warp(at).map(|other| x[other]).sum();
        vec![
            sum,
            if lane + 3 < 32 { x[at + 3] } else { v },
            if lane >= 2 { x[at - 2] } else { v },
            x[at - lane + (v & 31) as usize],
            x[at - lane % 8 + 1],
            mask(at, &|other| x[other] > 50),
            i32::from(warp(at).any(|other| x[other] > 98)),
            1,
            mask(at, &|other| x[other] & 3 == v & 3),
            sum,
            warp(at).map(|other| x[other]).max().unwrap(),
            -1,
            warp(at).filter(|&other| other < at && x[other] & 1 == 1).count() as i32,
            x.iter().filter(|&&x| x > 50).count() as i32,
        ]
    };
    for_each_module(|device, module| {
        let (input, y) = (device.upload(&x), device.alloc(4 * 14 * 64));
        let geometry = Geometry { grid: [1, 1, 1], block: [64, 1, 1], dynamic_shared: 0 };
        let arguments = [input, y].map(Argument::Pointer);
        device.launch(module, "warps", geometry, &arguments).unwrap_or_else(|finding| panic!("{finding}"));
        let found = device.read::<i32>(y, 14 * 64).unwrap();
        for at in 0..64 {
            let found: Vec<i32> = (0..14).map(|row| found[row * 64 + at]).collect();
            assert_eq!(found, wanted(at), "of thread {at}");
        }
    });
}

#[test]
fn atomics() {
    for_each_module(|device, module| {
        let y = device.upload(&[0i32, 0, 0, 100, 0, 0, 0, 0]);
        let u = device.upload(&[0u32, 0xffff, 0, 0, 0]);
        let (w, f) = (device.upload(&[0u64]), device.upload(&[0f32]));
        let geometry = Geometry { grid: [1, 1, 1], block: [96, 1, 1], dynamic_shared: 0 };
        let arguments = [y, u, w, f].map(Argument::Pointer);
        let counters = device.launch(module, "atomics", geometry, &arguments).unwrap_or_else(|f| panic!("{f}"));
        let all: i32 = (0..96).sum();
        let of_four = |first: i32| (first..96).step_by(4).sum::<i32>();
        assert_eq!(
            device.read::<i32>(y, 8).unwrap(),
            [all, 95, -95, -92, of_four(0), of_four(1), of_four(2), of_four(3)]
        );
        let xor = (0..96).fold(0, |xor, value| xor ^ value);
        assert_eq!(device.read::<u32>(u, 5).unwrap(), [u32::MAX, 0xff00, xor, 0, 96]);
        assert_eq!(device.read::<u64>(w, 1).unwrap(), [96 << 33]);
        assert_eq!(device.read::<f32>(f, 1).unwrap(), [48.0]);
        assert!(counters.atomics > 96 * 10);
    });
}
