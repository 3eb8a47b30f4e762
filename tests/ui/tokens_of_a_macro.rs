// The page is put together by a macro: its tokens stand in two places of this file, and not in the order of the page.
macro_rules! classifier {
    ($name:ident, $($layers:tt)*) => {
        netspec::netspec! {
            model $name {
                input image [3, 32, 32];
                $($layers)*
                linear(3 -> 2);
            }
        }
    };
}

mod right {
    classifier!(Net, max_pool(32); view(-1, 3););
}
mod wrong_in_the_argument {
    classifier!(Net, max_pool(32); veiw(-1, 3););
}
mod wrong_in_the_macro {
    classifier!(Net, view(-1, 3 * 32 * 32););
}

fn main() {
    let _ = right::Net::new(0);
}
