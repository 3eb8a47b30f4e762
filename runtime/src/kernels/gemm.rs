//! Products of matrices: the one place that gives pointers to `matrixmultiply`.
//!
//! An element of a product is a chain of additions along the inner dimension, cut every 256 terms, whatever the other dimensions are:
//! so a sample's numbers do not depend on the samples beside it.
//!
//! # Safety
//!
//! A [`Matrix`] is made only of memory that is borrowed for as long as it lives and that has all its elements: [`Matrix::new`] checks
//! it. Elements of a [`MatrixMut`] are distinct, since its rows are contiguous and do not overlap, and it borrows them alone.
#![allow(unsafe_code)]

use std::marker::PhantomData;

use crate::kernels::Store;

/// A matrix to be read.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    first: *const f32,
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
    of: PhantomData<&'a [f32]>,
}

/// A matrix to be written, of contiguous rows.
pub(crate) struct MatrixMut<'a> {
    first: *mut f32,
    rows: usize,
    cols: usize,
    row_stride: usize,
    of: PhantomData<&'a mut [f32]>,
}

/// Whether `rows` of `cols` floats, their beginnings `row_stride` apart, lie inside `len` floats.
fn fits(len: usize, rows: usize, cols: usize, row_stride: usize) -> bool {
    let last = rows.saturating_sub(1).checked_mul(row_stride).and_then(|first| first.checked_add(cols));
    rows == 0 || cols == 0 || last.is_some_and(|end| end <= len)
}

impl<'a> Matrix<'a> {
    /// The matrix of `rows` rows of `cols` floats that begin `row_stride` apart.
    pub(crate) fn new(data: &'a [f32], rows: usize, cols: usize, row_stride: usize) -> Matrix<'a> {
        assert!(fits(data.len(), rows, cols, row_stride), "a matrix lies inside its memory");
        Matrix { first: data.as_ptr(), rows, cols, row_stride, col_stride: 1, of: PhantomData }
    }

    /// The same elements, rows as columns.
    pub(crate) fn transposed(self) -> Matrix<'a> {
        Matrix { rows: self.cols, cols: self.rows, row_stride: self.col_stride, col_stride: self.row_stride, ..self }
    }
}

impl<'a> MatrixMut<'a> {
    /// The matrix of `rows` rows of `cols` floats that begin `row_stride` apart.
    pub(crate) fn new(data: &'a mut [f32], rows: usize, cols: usize, row_stride: usize) -> MatrixMut<'a> {
        assert!(fits(data.len(), rows, cols, row_stride), "a matrix lies inside its memory");
        assert!(row_stride >= cols || rows <= 1, "rows do not overlap");
        MatrixMut { first: data.as_mut_ptr(), rows, cols, row_stride, of: PhantomData }
    }
}

/// How many products were made, for the test that counts what a step allocates: each takes one buffer to pack into.
#[cfg(debug_assertions)]
pub(crate) static PRODUCTS: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

/// `c = a b`, or `c = c + a b`.
///
/// # Panics
///
/// When the sizes do not fit.
pub(crate) fn multiply(a: Matrix<'_>, b: Matrix<'_>, store: Store, c: MatrixMut<'_>) {
    assert!(a.rows == c.rows && a.cols == b.rows && b.cols == c.cols, "the sizes of a product fit");
    #[cfg(debug_assertions)]
    PRODUCTS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let beta = match store {
        Store::Write => 0.0,
        Store::Add => 1.0,
    };
    // SAFETY: each matrix has all its elements and may be read, or written, while it is borrowed (above); elements of `c` are distinct
    // and in no other matrix, since `c` borrows them alone. A stride larger than isize belongs to at most one row or column, and is
    // then multiplied by zero.
    unsafe {
        matrixmultiply::sgemm(
            a.rows,
            a.cols,
            b.cols,
            1.0,
            a.first,
            a.row_stride as isize,
            a.col_stride as isize,
            b.first,
            b.row_stride as isize,
            b.col_stride as isize,
            beta,
            c.first,
            c.row_stride as isize,
            1,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_by_hand() {
        let (a, b) = ([1.0, 2.0, 0.0, 3.0, 4.0, 0.0], [1.0, 10.0, 100.0, 1000.0]);
        let mut c = [1.0; 5];
        multiply(Matrix::new(&a, 2, 2, 3), Matrix::new(&b, 2, 2, 2), Store::Write, MatrixMut::new(&mut c, 2, 2, 3));
        assert_eq!(c, [201.0, 2010.0, 1.0, 403.0, 4030.0]);
        let b = Matrix::new(&b, 2, 2, 2).transposed();
        multiply(Matrix::new(&a, 2, 2, 3), b, Store::Add, MatrixMut::new(&mut c, 2, 2, 3));
        assert_eq!(c, [201.0 + 21.0, 2010.0 + 2100.0, 1.0, 403.0 + 43.0, 4030.0 + 4300.0]);
    }

    #[test]
    #[should_panic = "a matrix lies inside its memory"]
    fn a_matrix_longer_than_its_memory_is_refused() {
        Matrix::new(&[0.0; 7], 2, 4, 4);
    }

    #[test]
    #[should_panic = "a matrix lies inside its memory"]
    fn a_stride_that_overflows_is_refused() {
        Matrix::new(&[0.0; 7], 3, 1, usize::MAX / 2 + 2);
    }

    #[test]
    #[should_panic = "rows do not overlap"]
    fn a_result_whose_rows_overlap_is_refused() {
        MatrixMut::new(&mut [0.0; 7], 2, 4, 3);
    }
}
