//! A model's weights. (To be completed: initialisation, files.)

/// Parameters and running statistics of a model.
#[derive(Clone, Debug)]
pub struct Weights {
    /// The parameters, in PyTorch's order.
    pub params: Vec<f32>,
    /// The running statistics.
    pub statistics: Vec<f32>,
}
