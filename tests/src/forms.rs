//! Each layer in its forms, and nets whose wiring is unusual: what every backend must get right.

/// Each layer in its forms: the shape of one sample, and the statements.
///
/// A new layer is checked by a line here; without one the test of all layers fails.
pub const FORMS: &[(&str, &str, &str)] = &[
    ("conv", "2, 6", "conv(3, kernel = 3);"),
    ("conv", "2, 9", "conv(4, kernel = 3, stride = 2, padding = 2, dilation = 2, bias = false);"),
    ("conv", "2, 4, 5", "conv(3, kernel = 3, padding = 1);"),
    ("conv", "2, 5, 6", "conv(3, kernel = (1, 3), stride = (2, 1), padding = (0, 2), dilation = (1, 2));"),
    ("conv", "4, 4, 4", "conv(6, kernel = 3, padding = 1, groups = 2);"),
    ("conv", "3, 5, 4", "conv(3, kernel = 3, stride = 2, padding = 1, groups = 3, bias = false);"),
    ("conv", "3, 4, 4", "conv(6, kernel = 1, groups = 3);"),
    ("conv", "2, 3, 4, 3", "conv(2, kernel = 2, stride = (1, 2, 1), padding = (1, 0, 0));"),
    ("conv", "2, 3, 3, 4", "conv(4, kernel = (2, 3, 2), padding = 1, groups = 2);"),
    ("conv", "5, 4, 3", "conv(5, kernel = 3, padding = 1, groups = 5);"),
    ("conv", "3, 7", "conv(3, kernel = 2, stride = 2, dilation = 2, groups = 3, bias = false);"),
    ("conv", "2, 4, 5", "conv(3, kernel = (2, 4), padding = same);"),
    ("conv", "4, 5", "conv(4, kernel = 2, dilation = 3, padding = same, groups = 2);"),
    ("conv_transpose", "3, 4", "conv_transpose(2, kernel = 3);"),
    ("conv_transpose", "2, 3", "conv_transpose(3, kernel = 2, stride = 3, output_padding = 2, bias = false);"),
    ("conv_transpose", "2, 3, 2", "conv_transpose(3, kernel = 3, stride = 2, padding = 1, output_padding = 1); tanh;"),
    ("conv_transpose", "4, 2, 3", "conv_transpose(6, kernel = (1, 3), dilation = (1, 2), groups = 2);"),
    ("conv_transpose", "3, 3, 2", "conv_transpose(3, kernel = 2, stride = 2, groups = 3); relu;"),
    ("conv_transpose", "2, 2, 3, 2", "conv_transpose(2, kernel = 2, stride = (1, 2, 1), padding = (1, 0, 0));"),
    ("conv_transpose", "2, 3, 3", "tanh as a; conv_transpose(2, kernel = 3, padding = 1) as b; add(a, b);"),
    ("linear", "5", "linear(4);"),
    ("linear", "5", "linear(4, bias = false);"),
    ("linear", "2, 3, 4", "linear(4 -> 3);"),
    ("max_pool", "2, 7", "max_pool(2);"),
    ("max_pool", "2, 7", "max_pool(3, stride = 2, padding = 1, ceil_mode = true);"),
    ("max_pool", "2, 4, 5", "max_pool((2, 3), stride = 1, padding = 1);"),
    ("max_pool", "1, 6, 6", "max_pool(2, stride = 3, dilation = 2);"),
    ("max_pool", "2, 3, 4, 3", "max_pool(2, stride = (1, 2, 1));"),
    ("max_pool", "2, 3, 5, 4", "conv(4, kernel = 3, padding = 1); tanh; max_pool((1, 2, 2));"),
    ("max_pool", "2, 5, 4", "conv(4, kernel = 3, padding = 1); tanh; max_pool(2, ceil_mode = true);"),
    ("avg_pool", "2, 7", "avg_pool(2);"),
    ("avg_pool", "2, 5, 5", "avg_pool(3, stride = 2, padding = 1);"),
    ("avg_pool", "2, 5, 5", "avg_pool(3, stride = 2, padding = 1, count_include_pad = false);"),
    ("avg_pool", "1, 6, 6", "avg_pool((2, 3), stride = (3, 2), padding = (1, 1), ceil_mode = true);"),
    ("avg_pool", "1, 3, 4, 3", "avg_pool(2, stride = 1);"),
    ("global_avg_pool", "3, 5", "global_avg_pool; conv(2, kernel = 1);"),
    ("global_avg_pool", "2, 3, 4", "global_avg_pool;"),
    ("global_avg_pool", "2, 2, 3, 2", "global_avg_pool; flatten;"),
    ("global_max_pool", "3, 4", "global_max_pool;"),
    ("global_max_pool", "3, 3, 4", "global_max_pool; conv(2, kernel = 1);"),
    ("global_max_pool", "2, 2, 3, 2", "global_max_pool;"),
    ("adaptive_avg_pool", "2, 7", "adaptive_avg_pool(3);"),
    ("adaptive_avg_pool", "2, 6, 5", "adaptive_avg_pool((3, 2));"),
    ("adaptive_avg_pool", "2, 4, 6", "adaptive_avg_pool(2); conv(2, kernel = 1);"),
    ("adaptive_avg_pool", "1, 2, 3", "adaptive_avg_pool((5, 2));"),
    ("adaptive_avg_pool", "1, 3, 4, 5", "adaptive_avg_pool((2, 4, 3));"),
    ("upsample", "2, 4", "upsample(3);"),
    ("upsample", "2, 5", "upsample(size = 3, mode = linear);"),
    ("upsample", "2, 3, 4", "upsample((2, 1)); conv(2, kernel = 2);"),
    ("upsample", "2, 3, 4", "upsample(2, mode = bilinear);"),
    ("upsample", "2, 3, 4", "upsample(size = (7, 3), mode = bilinear, align_corners = true);"),
    ("upsample", "1, 2, 3, 2", "upsample(2, mode = trilinear);"),
    ("upsample", "1, 3, 1, 2", "upsample(size = (2, 3, 5), mode = linear, align_corners = true);"),
    ("upsample", "1, 2, 3, 2", "upsample(2);"),
    ("zero_pad", "2, 5", "zero_pad((2, 0)); conv(2, kernel = 4);"),
    ("zero_pad", "2, 3, 4", "zero_pad(1); conv(2, kernel = 3);"),
    ("zero_pad", "2, 3, 4", "zero_pad((0, 1, 2, 3)); tanh;"),
    ("zero_pad", "2, 4, 4", "zero_pad((0, 1, 0, 1)); conv(3, kernel = 2, stride = 2);"),
    ("zero_pad", "1, 2, 3, 2", "zero_pad((1, 0, 0, 2, 1, 1)); conv(2, kernel = 2);"),
    ("batch_norm", "4", "batch_norm;"),
    ("batch_norm", "3, 4", "batch_norm(eps = 0.1);"),
    ("batch_norm", "2, 3, 3", "batch_norm(affine = false);"),
    ("batch_norm", "2, 3, 3", "conv(3, kernel = 2, bias = false); batch_norm; relu;"),
    ("batch_norm", "2, 2, 3, 2", "batch_norm(momentum = 0.5); tanh;"),
    ("dropout", "2, 4, 3", "dropout(0.3);"),
    ("channel_dropout", "4, 3", "channel_dropout(0.4);"),
    ("channel_dropout", "6, 2, 2", "channel_dropout;"),
    ("relu", "2, 3, 3", "relu;"),
    ("relu", "2, 3, 3", "conv(3, kernel = 2); relu;"),
    ("tanh", "7", "tanh;"),
    ("tanh", "7", "linear(5); tanh;"),
    ("sigmoid", "2, 3", "sigmoid;"),
    ("sigmoid", "2, 5", "batch_norm; sigmoid;"),
    ("leaky_relu", "2, 3, 3", "leaky_relu;"),
    ("leaky_relu", "2, 4, 4", "conv(3, kernel = 1); leaky_relu(0.3); max_pool(2);"),
    ("elu", "2, 3", "elu;"),
    ("elu", "2, 4, 4", "conv(3, kernel = 1); elu(0.4); max_pool(2);"),
    ("gelu", "2, 4", "gelu;"),
    ("gelu", "5", "linear(4); gelu;"),
    ("gelu", "2, 4", "gelu(approximate = tanh);"),
    ("silu", "2, 4", "silu;"),
    ("hardtanh", "2, 3, 3", "hardtanh(min = -0.3, max = 0.4);"),
    ("hardtanh", "2, 4, 4", "conv(3, kernel = 1); hardtanh; max_pool(2);"),
    ("relu6", "2, 3, 3", "relu6;"),
    ("hardswish", "2, 4", "hardswish;"),
    ("hardsigmoid", "2, 4", "hardsigmoid;"),
    ("hardsigmoid", "4", "linear(6); hardsigmoid;"),
    ("softplus", "2, 4", "softplus;"),
    ("softplus", "2, 4, 4", "conv(3, kernel = 1); softplus(beta = 3); max_pool(2);"),
    ("softplus", "2, 4", "softplus(beta = 2, threshold = 1);"),
    ("softmax", "5", "softmax;"),
    ("softmax", "3, 2, 3", "softmax;"),
    ("softmax", "2, 3, 2", "softmax(dim = 2);"),
    ("layer_norm", "6", "layer_norm;"),
    ("layer_norm", "2, 3, 2", "layer_norm(eps = 0.1);"),
    ("layer_norm", "3, 4", "layer_norm(1);"),
    ("layer_norm", "2, 2, 3", "layer_norm(dims = 2, affine = false);"),
    ("layer_norm", "2, 3, 2", "conv(4, kernel = 1, bias = false); layer_norm(affine = false); gelu;"),
    ("group_norm", "4, 3", "group_norm(2);"),
    ("group_norm", "6", "group_norm(2, eps = 0.1);"),
    ("group_norm", "3, 2, 2", "conv(6, kernel = 1, bias = false); group_norm(3); relu;"),
    ("group_norm", "2, 2, 2, 2", "group_norm(1, affine = false);"),
    ("instance_norm", "3, 4", "instance_norm;"),
    ("instance_norm", "2, 3, 2", "instance_norm(affine = true); silu;"),
    ("log_softmax", "5", "log_softmax;"),
    ("log_softmax", "3, 2, 3", "log_softmax;"),
    ("log_softmax", "2, 3, 2", "log_softmax(dim = 2);"),
    ("log_softmax", "2, 3, 4", "log_softmax(dim = 3);"),
    ("view", "2, 3, 4", "view(-1, 4, 6); conv(2, kernel = 2);"),
    ("flatten", "2, 3, 2", "flatten; linear(3);"),
    ("narrow", "7", "narrow(1, start = 2, length = 3);"),
    ("narrow", "5, 2, 3", "narrow(1, start = 3, length = 2); conv(2, kernel = 2);"),
    ("narrow", "2, 5, 4", "narrow(2, start = 1, length = 3); narrow(3, start = 2, length = 2);"),
    ("narrow", "2, 3, 2, 3", "narrow(4, start = 0, length = 2);"),
    ("narrow", "2, 2, 1, 3, 2", "narrow(4, start = 1, length = 2); flatten;"),
    (
        "narrow",
        "4, 3",
        "tanh as v; narrow(1, start = 0, length = 2) as a; from v; narrow(1, start = 1, length = 3) as b; concat(b, a);",
    ),
    ("permute", "2, 3", "permute(0, 2, 1); conv(2, kernel = 2);"),
    ("permute", "2, 3, 4", "permute(0, 2, 3, 1);"),
    ("permute", "2, 3, 4", "permute(0, 3, 1, 2); conv(2, kernel = 2);"),
    ("permute", "2, 1, 3, 2", "permute(0, 4, 3, 2, 1);"),
    ("permute", "2, 3", "permute(0, 1, 2);"),
    ("channel_shuffle", "6, 2", "channel_shuffle(3);"),
    (
        "channel_shuffle",
        "6, 2, 2",
        "conv(6, kernel = 1, groups = 2); channel_shuffle(2); conv(6, kernel = 1, groups = 2);",
    ),
    ("channel_shuffle", "4, 2, 1, 2", "channel_shuffle(2);"),
    ("channel_shuffle", "4, 3", "channel_shuffle(1); channel_shuffle(4);"),
    ("identity", "2, 3", "identity;"),
    ("add", "2, 3, 3", "tanh as a; conv(2, kernel = 1) as b; add(a, b, a);"),
    ("concat", "2, 3, 3", "tanh as a; conv(3, kernel = 1) as b; concat(b, a, b); conv(2, kernel = 2);"),
    ("multiply", "2, 3, 3", "tanh as a; conv(2, kernel = 1) as b; multiply(a, b, a);"),
    (
        "multiply",
        "3, 2, 4",
        "tanh as map; global_avg_pool; conv(2, kernel = 1); relu; conv(3, kernel = 1); sigmoid as gate; multiply(map, gate);",
    ),
    ("multiply", "2, 3, 4", "tanh as map; conv(1, kernel = 1); sigmoid as gate; multiply(gate, map);"),
    ("multiply", "3, 4", "tanh as map; conv(1, kernel = 4) as one; multiply(map, one);"),
    ("multiply", "2, 3, 4", "tanh as map; conv(2, kernel = (3, 1)) as lines; multiply(lines, map);"),
    ("multiply", "5", "tanh as a; multiply(a, a);"),
    ("multiply", "3, 2, 2, 2", "tanh as map; global_avg_pool; sigmoid as gate; multiply(gate, map);"),
];

/// Nets whose wiring is unusual.
pub const WIRINGS: &[(&str, &str)] = &[
    (
        "an output that is read on, and one behind it",
        "input x [4]; linear(5) as early; tanh; linear(3) as late; output early, late;",
    ),
    (
        "an auxiliary output from the middle of residual sums",
        "input x [2, 4, 4]; conv(3, kernel = 3, padding = 1); skip as mid { conv(3, kernel = 1); sigmoid; } \
         skip { batch_norm; conv(3, kernel = 1); } flatten; linear(2) as y; from mid; avg_pool(4); flatten; \
         linear(2) as aux; output aux, y;",
    ),
    (
        "a pool and a nonlinearity beside what is added to them",
        "input x [2, 4, 4]; conv(3, kernel = 3, padding = 1); skip { max_pool(3, stride = 1, padding = 1); tanh; } flatten; linear(2);",
    ),
    (
        "what a loop begins and ends with",
        "input x [4]; linear(4) as a; repeat 3 as r { skip { linear(4); tanh; } } linear(2) as y; output a, y, r;",
    ),
    ("one value twice", "input x [4]; linear(3) as a; tanh as b; identity as c; output b, c;"),
    ("an input for an output", "input x [3]; linear(3) as y; output y, x;"),
    ("repeat with separate weights", "input x [4]; linear(4); repeat 3 { linear(4); tanh; } linear(2);"),
    ("tied repeat", "input x [4]; linear(4); repeat 3 tied { linear(4); tanh; } linear(2);"),
    ("repeat once", "input x [4]; linear(4); repeat 1 { linear(4); tanh; } linear(2);"),
    ("repeat first", "input x [2, 4]; repeat 2 { conv(2, kernel = 3, padding = 1); sigmoid; } flatten; linear(2);"),
    ("repeat last", "input x [4]; linear(4); repeat 3 { linear(4); tanh; }"),
    (
        "residual blocks",
        "input x [2, 4, 4]; conv(3, kernel = 3); \
         repeat 3 as r { skip { conv(3, kernel = 3, padding = 1, bias = false); batch_norm; relu; } } \
         max_pool(2); flatten; linear(2);",
    ),
    (
        "tied residual blocks",
        "input x [2, 4, 4]; conv(3, kernel = 3); \
         repeat 3 tied as r { skip { conv(3, kernel = 3, padding = 1, bias = false); batch_norm; relu; } } \
         max_pool(2); flatten; linear(2);",
    ),
    (
        "nested repeats",
        "input x [3]; linear(3); repeat 2 as o { linear(3); sigmoid; repeat 3 as i { linear(3); tanh; } } linear(2);",
    ),
    (
        "separate in tied",
        "input x [3]; linear(3); repeat 2 tied as o { linear(3); repeat 3 as i { linear(3); tanh; } } linear(2);",
    ),
    (
        "tied in separate",
        "input x [3]; linear(3); repeat 2 as o { linear(3); repeat 3 tied as i { linear(3); tanh; } } linear(2);",
    ),
    (
        "tied in tied",
        "input x [3]; linear(3); repeat 2 tied as o { linear(3); repeat 3 tied as i { linear(3); tanh; } } linear(2);",
    ),
    (
        "a value from outside, read in a repeat",
        "input x [3]; linear(3) as a; tanh as b; repeat 3 { linear(3); tanh as c; add(a, c, b); } linear(2);",
    ),
    (
        "a value from outside, read in nested repeats",
        "input x [3]; linear(3) as a; repeat 2 { linear(3); tanh as c; repeat 2 { linear(3); sigmoid as d; add(a, d, c); } } \
         linear(2) as e; from a; linear(2) as f; add(e, f);",
    ),
    (
        "the value before a repeat, read in it",
        "input x [3]; linear(3) as a; repeat 2 { linear(3); tanh as b; add(a, b); } linear(2);",
    ),
    (
        "a repeat that forgets its start",
        "input x [3]; linear(3) as a; repeat 2 { from a; linear(3); tanh; } linear(2);",
    ),
    ("a repeat that gives back what is outside", "input x [3]; linear(3) as a; tanh; repeat 2 { from a; } linear(2);"),
    (
        "only inner loops have weights",
        "input x [3]; input y [3]; repeat 2 { tanh as s; repeat 2 { tanh; add(s, y) as p; linear(3); sigmoid as q; add(p, q); } } linear(2);",
    ),
    (
        "weights late in a repeat",
        "input x [3]; input y [3]; repeat 3 { tanh as a; from y; repeat 2 { sigmoid as c; add(a, c); } linear(3) as b; add(a, b); }",
    ),
    (
        "dropout in a repeat",
        "input x [4]; linear(4); repeat 3 { linear(4); tanh; dropout(0.4); } repeat 2 { dropout; } linear(2);",
    ),
    (
        "a shared instance, used twice and in a repeat",
        "input x [4]; shared s { linear(4) as l; tanh; } linear(4); s; linear(4) as m; s; repeat 2 { linear(4); s; } linear(2);",
    ),
    (
        "a shared instance, used in a repeat only",
        "input x [4]; shared s { linear(4) as l; batch_norm; } linear(4); repeat 2 { linear(4); tanh; s; } linear(2);",
    ),
    (
        "a shared instance with a repeat in it",
        "input x [4]; shared s { repeat 2 { linear(4); tanh; } } linear(4); s; sigmoid; s; linear(2);",
    ),
    (
        "a shared instance on maps of two sizes",
        "input x [2, 7, 7]; shared s { conv(2, kernel = 2); tanh; } s; s; max_pool(2); s as t; flatten; linear(2);",
    ),
    (
        "skip with project",
        "input x [2, 5, 5]; conv(2, kernel = 1); \
         skip { conv(3, kernel = 3, stride = 2, padding = 1); batch_norm; relu; conv(3, kernel = 1); } \
         project { conv(3, kernel = 1, stride = 2); batch_norm; } relu; flatten; linear(2);",
    ),
    (
        "branches",
        "input x [2, 4, 4]; conv(3, kernel = 1); \
         branch concat { { conv(2, kernel = 3, padding = 1); relu; } { max_pool(3, stride = 1, padding = 1); } { identity; } } \
         branch add { { conv(2, kernel = 1); } { avg_pool(1); conv(2, kernel = 1); tanh; } } flatten; linear(2);",
    ),
    (
        "one value, four readers",
        "input x [3]; linear(3) as a; tanh as b; from a; sigmoid as c; add(a, b, c, a); linear(2);",
    ),
    ("two activations", "input x [3]; linear(3); tanh; sigmoid; linear(2); tanh; tanh;"),
    (
        "two inputs",
        "input x [3]; input y [2, 2]; linear(3) as a; from y; flatten; linear(3); tanh as b; add(a, b); linear(2);",
    ),
    ("two outputs, the trained one in the middle", "input x [3]; linear(3) as a; tanh; linear(2) as b; output a, b;"),
    (
        "an activation that is an output beside its reader",
        "input x [3]; linear(3); tanh as a; linear(2) as b; output b, a;",
    ),
    (
        "parts of one value, of which two are the same and one is in another",
        "input x [2, 4]; conv(6, kernel = 1) as v; narrow(1, start = 0, length = 3) as a; from v; narrow(1, start = 0, length = 3) as b; \
         from v; narrow(1, start = 1, length = 3) as c; multiply(a, b) as d; add(c, d); flatten; linear(2);",
    ),
    (
        "a repeat of blocks that halve, shuffle and join",
        "input x [3, 4, 4]; conv(8, kernel = 1); repeat 3 { identity as v; narrow(1, start = 0, length = 4) as kept; from v; \
         narrow(1, start = 4, length = 4); conv(4, kernel = 3, padding = 1); relu as made; concat(kept, made); channel_shuffle(2); } \
         global_avg_pool; flatten; linear(2);",
    ),
    (
        "a gate from outside of a repeat",
        "input x [3, 4, 4]; conv(4, kernel = 1) as v; global_avg_pool; sigmoid as gate; from v; \
         repeat 2 { conv(4, kernel = 3, padding = 1); tanh as map; multiply(map, gate); } flatten; linear(2);",
    ),
    (
        "a branch that multiplies",
        "input x [2, 3, 3]; conv(3, kernel = 1); branch multiply { { tanh; } { global_avg_pool; sigmoid; } } flatten; linear(2);",
    ),
    ("rows as wide as they are many", "input x [3, 3]; linear(3 -> 3, bias = false); batch_norm; flatten; linear(2);"),
    ("no parameters before the loop", "input x [3]; tanh; repeat 2 { tanh; } linear(2);"),
    (
        "an unrolled repeat",
        "input x [2]; linear(2); repeat 3 unrolled { tanh as a; linear(2) as b; concat(a, b); } linear(2);",
    ),
];

/// A layer between others, such that the elements that come to it are parameters (the model's input picks the sample, and a linear
/// layer without bias gives that sample's column), and the gradient that comes back to it depends on what it made.
///
/// # Panics
///
/// When the shape is not a list of sizes.
pub fn in_the_middle_text(samples: usize, shape: &str, layer: &str) -> String {
    let len: usize = shape.split(", ").map(|size| size.parse::<usize>().expect("a size")).product();
    format!(
        "model Middle {{ input pick [{samples}]; linear({len}, bias = false) as before; view(-1, {shape}); \
         {layer} sigmoid; flatten; linear(3); tanh; }}"
    )
}
