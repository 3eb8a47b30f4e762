//! Arithmetic on parameters: sizes in checked 64-bit integers, whose division must be exact; numbers, such as a learning rate, in f64.

use super::{Resolver, Scope, bind};
use crate::ast::{Add, Expr, ExprKind, Mul};
use crate::diag::{Code, Diagnostic, nearest};
use crate::limits;
use crate::ops::{Int, thousands};

/// Bytes of an expression that is shown with its value.
const HOW_LENGTH: usize = 200;

impl<'a> Resolver<'a> {
    /// An integer expression's value, with how it came about. None when it was reported.
    pub(super) fn int(&mut self, expr: &Expr, scope: &mut Scope<'a>) -> Option<Int> {
        let mut used = Vec::new();
        let value = self.eval(expr, scope, &mut used)?;
        let is_literal = match &expr.kind {
            ExprKind::Int(_) => true,
            ExprKind::Negative(inner) => matches!(inner.kind, ExprKind::Int(_)),
            _ => false,
        };
        let how = (!is_literal).then(|| {
            // Behind an arithmetic that fills lines only its value is of use.
            let text = match expr.span.range().len() {
                0..=HOW_LENGTH => self.fixes.words(expr.span),
                _ => "this".to_owned(),
            };
            let with: Vec<String> = used
                .iter()
                .map(|(name, value)| format!("{name} = {value}"))
                .filter(|with| !with.starts_with(&format!("{text} ")))
                .collect();
            match with.is_empty() {
                true => format!("{text} = {value}"),
                false => format!("{text} = {value}, with {}", with.join(", ")),
            }
        });
        Some(Int { value, span: expr.span, how })
    }

    /// An integer of at least `least`; `what` it is, for the error.
    pub(super) fn int_of_at_least(
        &mut self,
        expr: &Expr,
        least: i64,
        scope: &mut Scope<'a>,
        what: &str,
    ) -> Option<Int> {
        let int = self.int(expr, scope)?;
        if int.value < least {
            let title = format!("{what} is {}", int.value);
            let problem = Diagnostic::new(Code::N0211, title, int.span, format!("must be at least {least}"));
            self.report(problem.notes(int.how));
            return None;
        }
        if int.value > 0 && int.value.unsigned_abs() > limits::VALUE_ELEMENTS {
            let title = format!("{what} is {}", thousands(int.value.unsigned_abs()));
            let label = format!("must be at most {}", thousands(limits::VALUE_ELEMENTS));
            self.report(Diagnostic::new(Code::N0108, title, int.span, label).notes(int.how));
            return None;
        }
        Some(int)
    }

    /// Evaluates, and collects the parameters read in `used`.
    fn eval(&mut self, expr: &Expr, scope: &Scope<'a>, used: &mut Vec<(String, i64)>) -> Option<i64> {
        self.count_argument(expr.span)?;
        match &expr.kind {
            ExprKind::Missing => None,
            ExprKind::Int(value) => Some(*value),
            ExprKind::Word(word) => match scope.ints.get(word.as_str()) {
                Some(&(value, declared)) => {
                    self.used_params.insert(declared);
                    let value = value?;
                    if !used.iter().any(|(name, _)| name == word) {
                        used.push((word.clone(), value));
                    }
                    Some(value)
                }
                None => {
                    let problem = unknown_parameter(word, expr, scope);
                    self.report(problem);
                    None
                }
            },
            ExprKind::Negative(inner) => {
                let value = self.eval(inner, scope, used)?;
                self.checked(value.checked_neg(), expr, used)
            }
            ExprKind::Sum(first, rest) => rest.iter().fold(self.eval(first, scope, used), |sum, (operator, term)| {
                let term = self.eval(term, scope, used);
                let (sum, term) = (sum?, term?);
                let sum = match operator {
                    Add::Plus => sum.checked_add(term),
                    Add::Minus => sum.checked_sub(term),
                };
                self.checked(sum, expr, used)
            }),
            ExprKind::Product(first, rest) => {
                rest.iter().fold(self.eval(first, scope, used), |product, (operator, factor)| {
                    let value = self.eval(factor, scope, used);
                    let (product, value) = (product?, value?);
                    match operator {
                        Mul::Times => self.checked(product.checked_mul(value), expr, used),
                        Mul::Over => self.divided(product, value, expr, used),
                    }
                })
            }
            _ => {
                let title = format!("an integer is wanted here, not {}", bind::described(expr));
                self.report(Diagnostic::new(Code::N0204, title, expr.span, "not an integer"));
                None
            }
        }
    }

    /// The value of an expression where a number is wanted: arithmetic in f64, so that `1/9` is a ninth. None when it was reported.
    pub(super) fn real(&mut self, expr: &Expr, scope: &mut Scope<'a>) -> Option<f64> {
        let number = match &expr.kind {
            ExprKind::Float(number) => *number,
            ExprKind::Missing | ExprKind::Int(_) | ExprKind::Word(_) => self.int(expr, scope)?.value as f64,
            ExprKind::Negative(inner) => -self.real(inner, scope)?,
            ExprKind::Sum(first, rest) => {
                let mut sum = self.real(first, scope)?;
                for (operator, term) in rest {
                    self.count_argument(term.span)?;
                    let term = self.real(term, scope)?;
                    match operator {
                        Add::Plus => sum += term,
                        Add::Minus => sum -= term,
                    }
                }
                sum
            }
            ExprKind::Product(first, rest) => {
                let mut product = self.real(first, scope)?;
                for (operator, factor) in rest {
                    self.count_argument(factor.span)?;
                    let value = self.real(factor, scope)?;
                    match operator {
                        Mul::Times => product *= value,
                        Mul::Over if value == 0.0 => {
                            self.report(Diagnostic::new(Code::N0208, "a division by 0", expr.span, "has no answer"));
                            return None;
                        }
                        Mul::Over => product /= value,
                    }
                }
                product
            }
            ExprKind::Text(_) | ExprKind::Path(_) | ExprKind::List(_) | ExprKind::Call(_) => {
                let title = format!("a number is wanted here, not {}", bind::described(expr));
                self.report(Diagnostic::new(Code::N0204, title, expr.span, "not a number"));
                return None;
            }
        };
        if !number.is_finite() {
            self.report(Diagnostic::new(Code::N0208, "this arithmetic has no finite answer", expr.span, "too large"));
            return None;
        }
        Some(number)
    }

    fn checked(&mut self, value: Option<i64>, expr: &Expr, used: &[(String, i64)]) -> Option<i64> {
        if value.is_none() {
            let title = "this arithmetic does not fit 64 bits";
            self.report(Diagnostic::new(Code::N0208, title, expr.span, "too large").notes(with(used)));
        }
        value
    }

    fn divided(&mut self, value: i64, by: i64, expr: &Expr, used: &[(String, i64)]) -> Option<i64> {
        let with = with(used);
        if by == 0 {
            self.report(Diagnostic::new(Code::N0208, "a division by 0", expr.span, "has no answer").notes(with));
            return None;
        }
        if value.checked_rem(by) != Some(0) {
            let title = format!("{value} / {by} does not divide exactly");
            let label = match (value.checked_div(by), value.checked_rem(by)) {
                (Some(quotient), Some(rest)) => format!("{quotient} times {by} leaves {rest}"),
                _ => "does not fit 64 bits".to_owned(),
            };
            self.report(Diagnostic::new(Code::N0208, title, expr.span, label).notes(with));
            return None;
        }
        value.checked_div(by)
    }
}

/// `with n = 32`: the parameters that were read, for a note.
fn with(used: &[(String, i64)]) -> Option<String> {
    let with: Vec<String> = used.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    (!with.is_empty()).then(|| format!("with {}", with.join(", ")))
}

fn unknown_parameter(word: &str, expr: &Expr, scope: &Scope<'_>) -> Diagnostic {
    let mut names: Vec<&str> = scope.ints.keys().copied().collect();
    names.sort_unstable();
    let near = nearest(word, names.iter().copied());
    let title = format!("unknown parameter `{word}`");
    let problem = Diagnostic::meant(Code::N0205, title, expr.span, near, "no parameter has this name");
    match names.as_slice() {
        [] => problem.note("there are no parameters here"),
        [_, .., _] if names.len() > 12 => problem,
        names => problem.note_without_fix(|| format!("parameters that can be read here: {}", names.join(", "))),
    }
}
