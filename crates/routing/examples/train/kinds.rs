//! Which kind of prompt a category of a public set is.

use anyhow::{Context, Result};
use routing::heads::KINDS;

/// The number of the kind.
pub(crate) fn of(set: &str, category: &str) -> Result<usize> {
    let name = name(set, category);
    KINDS.iter().position(|(kind, _)| *kind == name).with_context(|| format!("`{set}/{category}` is of no known kind"))
}

fn name<'n>(set: &str, category: &'n str) -> &'n str {
    match (set, category) {
        ("llmrouter_open9", "math") => "competition",
        ("llmrouter_open9", "mmlu") => "unframed_choice",
        ("mmlu_pro", "math") => "school_math",
        (_, "gsm8k" | "gsm" | "agentverse-mgsm") => "word_problem",
        (_, "math-l5") => "competition",
        (_, "mbpp") => "program_spec",
        (_, "human_eval") => "program_body",
        (_, "agentverse-logicgrid") => "logic_grid",
        (_, "commongen") => "words_to_text",
        (_, "commonsense_qa") => "commonsense",
        (_, "arc_challenge") => "science_short",
        (_, "openbook_qa") => "openbook",
        (_, "gpqa") => "graduate",
        (_, "natural_qa") => "encyclopedia",
        (_, "trivia_qa") => "trivia",
        (_, subject) => of_subject(subject),
    }
}

fn of_subject(subject: &str) -> &str {
    match subject {
        "abstract_algebra"
        | "college_mathematics"
        | "elementary_mathematics"
        | "high_school_mathematics"
        | "high_school_statistics" => "school_math",
        "astronomy" | "college_physics" | "conceptual_physics" | "high_school_physics" => "physics",
        "college_chemistry" | "high_school_chemistry" => "chemistry",
        "electrical_engineering" => "engineering",
        "college_computer_science"
        | "computer_security"
        | "high_school_computer_science"
        | "machine_learning"
        | "computer science" => "computing",
        "college_biology" | "high_school_biology" => "biology",
        "anatomy"
        | "clinical_knowledge"
        | "college_medicine"
        | "human_aging"
        | "medical_genetics"
        | "nutrition"
        | "professional_medicine"
        | "virology" => "health",
        "human_sexuality" | "high_school_psychology" | "professional_psychology" => "psychology",
        "international_law" | "jurisprudence" | "professional_law" => "law",
        "high_school_european_history" | "high_school_us_history" | "high_school_world_history" | "prehistory" => {
            "history"
        }
        "formal_logic" | "logical_fallacies" | "moral_disputes" | "moral_scenarios" | "world_religions" => "philosophy",
        "econometrics" | "high_school_macroeconomics" | "high_school_microeconomics" => "economics",
        "business_ethics" | "management" | "marketing" | "professional_accounting" => "business",
        "high_school_geography"
        | "high_school_government_and_politics"
        | "public_relations"
        | "security_studies"
        | "sociology"
        | "us_foreign_policy" => "politics",
        "global_facts" | "miscellaneous" => "other",
        other => other,
    }
}
