//! What the demo's traffic asks: code, sums, writing and knowledge, from trivial to hard.

/// Questions that many have, each in several words that mean the same.
pub(crate) const FAVOURITES: [&[&str]; 4] = [
    &["What is the capital of Portugal?", "what's the capital of Portugal", "Which city is the capital of Portugal?"],
    &["What is 17 times 23?", "What is seventeen times 23?", "what's 17 * 23"],
    &["How do I remove a wine stain?", "How can I get rid of a wine stain?", "how do i remove a wine stain"],
    &["Give me a synonym for \"quick\"."],
];

/// The prompts.
pub(crate) const PROMPTS: [&str; 40] = [
    "What is the capital of Portugal?",
    "Translate \"good morning\" into Finnish.",
    "How many minutes are there in a week?",
    "Give me a synonym for \"quick\".",
    "Write a Python function that removes duplicates from a list and keeps the order.",
    "Explain the difference between a mutex and a semaphore with a short Rust example.",
    "Find the bug: `for i in range(len(xs)): xs.remove(xs[i])`.",
    "Write a SQL query for the three customers with the highest turnover per country.",
    "Design a rate limiter for a distributed system. Compare token bucket, sliding window and GCRA, discuss clock skew, \
     and sketch the data model.",
    "Refactor this into smaller functions: def run(a): x = [i for i in a if i > 0]; y = sum(x); print(y / len(x))",
    "Write a regular expression for dates such as 2031-04-09 and explain every part of it.",
    "Why does my JavaScript promise chain swallow errors, and how do I find out where?",
    "Implement an LRU cache in Rust without unsafe code and analyse the cost of each operation.",
    "What does HTTP status 418 mean?",
    "What is 17 times 23?",
    "A train leaves at 9:40 and arrives at 13:05. How long is the ride?",
    "Solve x^2 - 5x + 6 = 0 and show each step.",
    "Prove that the square root of 3 is irrational.",
    "How likely is it that two of 30 people share a birthday? Derive the formula first.",
    "Integrate x * exp(-x) from zero to infinity.",
    "Show that every finite integral domain is a field, and say where finiteness is used.",
    "Split a bill of 86.40 among five people with a tip of ten percent.",
    "Write a haiku about the first frost.",
    "Draft a friendly reminder to a colleague who has not answered for a week.",
    "Shorten this sentence: Due to the fact that it was raining, we took the decision to remain inside.",
    "Write the opening paragraph of a detective story that is set on a cargo ship.",
    "Suggest five names for a bakery near a railway station.",
    "Write a product description for a wooden desk lamp in 80 words.",
    "Rewrite for a ten-year-old: Photosynthesis converts light into chemical energy.",
    "Compose a short speech for the retirement of a school gardener.",
    "Why is the sky blue?",
    "Who painted The Night Watch?",
    "Compare the causes of the two oil crises of the 1970s.",
    "How does a heat pump work in winter?",
    "Summarise the arguments for and against nuclear power in six points, and weigh them.",
    "What should I watch out for when I adopt an older dog?",
    "Explain how vaccines train the immune system.",
    "List three differences between alligators and crocodiles.",
    "Plan a weekend in Ljubljana for two people who like architecture and food.",
    "Analyse step by step how a rise in interest rates reaches rents, wages and exports, name the assumptions, and say \
     which of them fail in a small open economy.",
];
