//! What a convolution does with a sum before it stores it.

use crate::arena::View;
use crate::isa::Numerics;
use crate::kernels::Act;

/// `y = act(sum + bias + before) + after`, each where it is there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Epilogue {
    pub(crate) bias: Option<usize>,
    pub(crate) before: Option<View>,
    pub(crate) act: Act,
    pub(crate) after: Option<View>,
}

impl Epilogue {
    /// The sum as it is.
    pub const NONE: Epilogue = Epilogue { bias: None, before: None, act: Act::None, after: None };

    /// Adds a bias, one float a channel from this parameter on.
    pub const fn bias(bias: usize) -> Epilogue {
        Epilogue { bias: Some(bias), ..Epilogue::NONE }
    }

    /// Then a nonlinearity.
    pub const fn act(self, act: Act) -> Epilogue {
        Epilogue { act, ..self }
    }

    /// The same, as these numerics compute it.
    pub(crate) fn of(&self, numerics: Numerics) -> Epilogue {
        Epilogue { act: self.act.of(numerics), ..*self }
    }

    /// Adds a value of the result's shape: before the nonlinearity when that is still to come, as in `add(x).act(Act::Relu)`, else behind
    /// it, as in `act(Act::Relu).add(x)`.
    pub const fn add(self, value: View) -> Epilogue {
        match self.act {
            Act::None => Epilogue { before: Some(value), ..self },
            _ => Epilogue { after: Some(value), ..self },
        }
    }
}
