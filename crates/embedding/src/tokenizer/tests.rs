use proptest::prelude::*;

use super::*;

/// What the vendor's own tokenizer (Hugging Face `tokenizers`) gives for the same texts.
const EXPECTED: &[(&str, &[u32])] = &[
    ("Hello, world!", &[7592, 1010, 2088, 999]),
    (
        "unbelievableness of antidisestablishmentarianism",
        &[23653, 2791, 1997, 3424, 10521, 4355, 7875, 13602, 3672, 12199, 2964],
    ),
    ("What's 2+2?", &[2054, 1005, 1055, 1016, 1009, 1016, 1029]),
    ("Gr\u{f6}\u{df}e caf\u{e9} na\u{ef}ve \u{c5}NGSTR\u{d6}M", &[24665, 2080, 17499, 7668, 15743, 17076, 15687]),
    ("\u{65e5}\u{672c}\u{8a9e}\u{3068}\u{4e2d}\u{6587} text", &[1864, 1876, 1950, 1666, 1746, 1861, 3793]),
    ("a\u{0}b\u{200b}c\u{fffd}d", &[5925, 2094]),
    (
        "\u{20ac}5 costs \u{a3}4 \u{2014} \u{201c}quoted\u{201d} \u{2026}",
        &[1574, 2629, 5366, 1069, 2549, 1517, 1523, 9339, 1524, 1529],
    ),
    (
        "def f(x):\n    return x**2  # \u{2211} \u{222b} \u{2264}",
        &[13366, 1042, 1006, 1060, 1007, 1024, 2709, 1060, 1008, 1008, 1016, 1001, 100, 100, 1608],
    ),
    (
        "\u{41f}\u{440}\u{438}\u{432}\u{435}\u{442} \u{43c}\u{438}\u{440}",
        &[1194, 16856, 10325, 25529, 15290, 22919, 1191, 10325, 16856],
    ),
    (
        "\u{c548}\u{b155}\u{d558}\u{c138}\u{c694}",
        &[1463, 30006, 30021, 29992, 30010, 30025, 30005, 30006, 29997, 30009, 29999, 30013],
    ),
    ("emoji \u{1f600} here", &[7861, 29147, 2072, 100, 2182]),
    ("l'\u{e9}t\u{e9} n\u{2019}est pas", &[1048, 1005, 3802, 2063, 1050, 1521, 9765, 14674]),
    ("\u{fdfd} \u{fb01}ne \u{1c5}", &[100, 1984, 2638, 100]),
    ("tabs\tand\r\nlines\u{a0}nbsp", &[21628, 2015, 1998, 3210, 1050, 5910, 2361]),
    ("\u{df} \u{1e9e} \u{130} \u{131}", &[1096, 1096, 1045, 1104]),
    ("e\u{301} combining", &[1041, 11566]),
    ("1,234.56e-7", &[1015, 1010, 22018, 1012, 5179, 2063, 1011, 1021]),
    ("__init__ some_name", &[1035, 1035, 1999, 4183, 1035, 1035, 2070, 1035, 2171]),
    ("\u{e31} \u{e01}\u{e47}", &[1409]),
];

#[test]
fn tokens_are_those_of_the_vendors_tokenizer() {
    for (text, expected) in EXPECTED {
        assert_eq!(tokens(text).collect::<Vec<_>>(), *expected, "{text:?}");
    }
    assert_eq!(tokens(&"x".repeat(101)).collect::<Vec<_>>(), [UNKNOWN]);
}

proptest! {
    #[test]
    fn any_text_has_tokens_of_the_vocabulary(text in "\\PC*") {
        let size = VOCABULARY.lines().count();
        prop_assert!(tokens(&text).all(|token| (token as usize) < size));
        prop_assert!(tokens(&text).count() <= 4 * text.chars().count());
    }
}
