//! The kinds of work that prompts ask for.

/// What a prompt asks for, in kinds that models differ in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Task {
    /// Programs: written, explained, mended.
    Code,
    /// Numbers and proofs.
    Math,
    /// Conclusions from what the prompt says.
    Reasoning,
    /// Facts.
    Knowledge,
    /// Stories, verse, play.
    Creative,
    /// Texts made of other texts or for a purpose: summaries, letters, translations.
    Writing,
    /// Parts or forms of what the prompt holds: extraction, classification, a given format.
    Extraction,
    /// Small talk and everything else.
    Conversation,
}

impl Task {
    /// All tasks, in the order of their numbers.
    pub const ALL: [Task; 8] = [
        Task::Code,
        Task::Math,
        Task::Reasoning,
        Task::Knowledge,
        Task::Creative,
        Task::Writing,
        Task::Extraction,
        Task::Conversation,
    ];

    /// The word used in explanations and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Task::Code => "code",
            Task::Math => "math",
            Task::Reasoning => "reasoning",
            Task::Knowledge => "knowledge",
            Task::Creative => "creative",
            Task::Writing => "writing",
            Task::Extraction => "extraction",
            Task::Conversation => "conversation",
        }
    }

    /// Reads the word.
    pub fn parse(name: &str) -> Option<Task> {
        Task::ALL.into_iter().find(|task| task.as_str() == name)
    }
}
