//! Opinions of answers.

use store::{Error, Feedback};

use crate::fixture::{Fixture, on_both};

on_both!(opinions_are_read_on_in_the_order_in_which_they_came, a_request_has_one_opinion);

fn opinion(request: &str, score_thousandths: i64) -> Feedback {
    Feedback {
        request_id: request.to_owned(),
        at_ms: 5,
        provider: "openai".to_owned(),
        model: "gpt-5".to_owned(),
        score_thousandths,
        evidence: Some("{\"d\":0.5}".to_owned()),
    }
}

async fn opinions_are_read_on_in_the_order_in_which_they_came(fixture: Fixture) {
    let other = fixture.second_store().await;
    assert_eq!(fixture.store.last_feedback().await.unwrap(), 0);

    fixture.store.add_feedback(&opinion("a", 0)).await.unwrap();
    other.add_feedback(&Feedback { evidence: None, ..opinion("b", 1000) }).await.unwrap();
    other.add_feedback(&opinion("c", 500)).await.unwrap();

    let all = fixture.store.feedback_after(0, 10).await.unwrap();
    let expected = [opinion("a", 0), Feedback { evidence: None, ..opinion("b", 1000) }, opinion("c", 500)];
    assert_eq!(all.iter().map(|(_, row)| row).collect::<Vec<_>>(), expected.iter().collect::<Vec<_>>());
    let (second, _) = &all[1];
    assert_eq!(fixture.store.feedback_after(*second, 10).await.unwrap().len(), 1);
    assert_eq!(fixture.store.last_feedback().await.unwrap(), all[2].0);
}

async fn a_request_has_one_opinion(fixture: Fixture) {
    fixture.store.add_feedback(&opinion("a", 0)).await.unwrap();

    let again = fixture.store.add_feedback(&opinion("a", 1000)).await;

    assert!(matches!(again, Err(Error::Conflict(_))), "{again:?}");
    assert_eq!(fixture.store.feedback_after(0, 10).await.unwrap(), [(1, opinion("a", 0))]);
}
