use std::collections::BTreeMap;

use secrecy::ExposeSecret;

use super::*;
use crate::config::Sources;

struct Setting {
    keys: Keys,
    secret: String,
}

fn key(id: &str, hash: [u8; 32]) -> store::Key {
    store::Key {
        id: id.to_owned(),
        hash,
        hint: String::new(),
        name: id.to_owned(),
        environment: "development".to_owned(),
        enabled: true,
        monthly_budget_usd: None,
        monthly_budget_tokens: None,
        rpm: None,
        tpm: None,
        max_concurrent: None,
        allowed_models: Vec::new(),
        tags: Vec::new(),
        expires_at_ms: None,
        created_at_ms: 0,
        updated_at_ms: 0,
        revoked_at_ms: None,
    }
}

fn empty() -> Keys {
    Keys::new(Arc::new(Budgets::local("test".to_owned()).0))
}

/// One key, changed by `change`.
fn with_key(change: impl FnOnce(&mut store::Key)) -> Setting {
    let (keys, hasher) = (empty(), Hasher::new("hashing secret"));
    let secret = secret::generate("development").unwrap().expose_secret().to_owned();
    let mut key = key("key_one", hasher.hash(&secret));
    change(&mut key);
    let admin = Some(hasher.hash("the admin key"));
    keys.install(Policy { hasher, keys: vec![key], admin });
    Setting { keys, secret }
}

fn config(variables: &[(&str, &str)]) -> Config {
    let environment: BTreeMap<String, String> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Config::load(&Sources { environment, ..Sources::default() }).unwrap()
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap())).collect()
}

fn bearer_of(secret: &str) -> HeaderMap {
    headers(&[("authorization", &format!("Bearer {secret}"))])
}

#[test]
fn a_key_is_found_in_any_of_its_three_headers() {
    let Setting { keys, secret } = with_key(|_| {});
    for headers in [
        bearer_of(&secret),
        headers(&[("authorization", &format!("bearer  {secret}"))]),
        headers(&[("x-api-key", &secret)]),
        headers(&[("x-budget-key", &secret)]),
        headers(&[("x-api-key", &secret), ("x-budget-key", "gw-another")]),
    ] {
        assert_eq!(&*keys.identify(&config(&[]), &headers).unwrap().id, "key_one", "{headers:?}");
    }
}

#[test]
fn a_key_that_opens_nothing_is_refused_with_one_text_whatever_the_reason() {
    let changes: [fn(&mut store::Key); 4] = [
        |key| key.enabled = false,
        |key| key.revoked_at_ms = Some(1),
        |key| key.expires_at_ms = Some(1),
        |key| key.hash = [7; 32],
    ];
    for change in changes {
        let Setting { keys, secret } = with_key(change);
        let refused = keys.identify(&config(&[]), &bearer_of(&secret));
        assert!(matches!(refused, Err(Refusal::InvalidKey)), "{refused:?}");
    }
}

#[test]
fn keys_are_required_once_one_was_made_and_where_others_reach_the_address() {
    let none = empty();
    none.install(Policy { hasher: Hasher::new("x"), keys: Vec::new(), admin: None });
    let Setting { keys: revoked, .. } = with_key(|key| key.revoked_at_ms = Some(1));
    for (keys, variables, is_required) in [
        (&none, &[][..], false),
        (&none, &[("HOST", "0.0.0.0")], true),
        (&none, &[("AUTH", "required")], true),
        (&revoked, &[], true),
        (&revoked, &[("AUTH", "optional")], false),
    ] {
        let identified = keys.identify(&config(variables), &HeaderMap::new());
        assert_eq!(matches!(identified, Err(Refusal::MissingKey)), is_required, "{variables:?}");
        assert_eq!(keys.are_required(&config(variables)), is_required);
    }
}

#[test]
fn where_no_key_is_needed_a_foreign_one_is_ignored_and_one_of_ours_is_checked() {
    let Setting { keys, secret } = with_key(|_| {});
    let optional = config(&[("AUTH", "optional")]);

    assert_eq!(&*keys.identify(&optional, &bearer_of("sk-anything")).unwrap().id, ANONYMOUS);
    assert_eq!(&*keys.identify(&optional, &bearer_of(&secret)).unwrap().id, "key_one");
    assert!(matches!(keys.identify(&optional, &bearer_of("gw-development-nonsense")), Err(Refusal::InvalidKey)));
}

#[test]
fn before_the_keys_are_known_nobody_is_let_in_who_may_need_one() {
    let keys = empty();
    for (variables, is_let_in) in [(&[][..], false), (&[("AUTH", "required")], false), (&[("AUTH", "optional")], true)]
    {
        let identified = keys.identify(&config(variables), &HeaderMap::new());
        assert_eq!(identified.is_ok(), is_let_in, "{variables:?}");
    }
    assert!(matches!(keys.admit_admin(&config(&[]), &bearer_of("the admin key")), Err(Refusal::KeysUnavailable)));
}

#[test]
fn the_admin_key_opens_and_a_gateway_key_does_not() {
    let Setting { keys, secret } = with_key(|_| {});

    assert!(keys.admit_admin(&config(&[]), &bearer_of("the admin key")).is_ok());
    assert!(matches!(keys.admit_admin(&config(&[]), &bearer_of(&secret)), Err(Refusal::InvalidAdminKey)));
    assert!(matches!(keys.admit_admin(&config(&[]), &HeaderMap::new()), Err(Refusal::MissingAdminKey)));
    let chosen = config(&[("ADMIN_API_KEY", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b")]);
    assert!(empty().admit_admin(&chosen, &bearer_of("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b")).is_ok());
    assert!(matches!(keys.admit_admin(&chosen, &bearer_of("the admin key")), Err(Refusal::InvalidAdminKey)));
}

#[test]
fn what_a_key_has_used_outlives_a_change_of_the_key() {
    let Setting { keys, secret } = with_key(|key| key.rpm = Some(1));
    let before = keys.of_secret(&secret).unwrap();
    let changed = store::Key { rpm: Some(2), ..before.key.clone().unwrap() };

    keys.install(Policy { hasher: Hasher::new("hashing secret"), keys: vec![changed], admin: None });

    let after = keys.of_secret(&secret).unwrap();
    assert_eq!(after.rates.rpm, Some(2));
    assert!(Arc::ptr_eq(&before.meter, &after.meter) && Arc::ptr_eq(&before.account, &after.account));
}

#[test]
fn allowed_models_are_names_asked_for_models_or_providers() {
    for (allowed, asked, provider, model, may) in [
        (&[][..], "auto", "openai", "gpt-4o", true),
        (&["gpt-4o"], "gpt-4o", "openai", "gpt-4o", true),
        (&["gpt-4o"], "auto", "openai", "gpt-4o", true),
        (&["auto"], "auto", "openai", "gpt-4o", true),
        (&["auto"], "gpt-4o", "openai", "gpt-4o", false),
        (&["openai/gpt-4o"], "gpt-4o", "openai", "gpt-4o", true),
        (&["azure/gpt-4o"], "gpt-4o", "openai", "gpt-4o", false),
        (&["openai/*"], "o3", "openai", "o3", true),
        (&["openai/*"], "o3", "azure", "o3", false),
        (&["gpt-4o-mini"], "gpt-4o", "openai", "gpt-4o", false),
    ] {
        let names = allowed.iter().map(|name| (*name).to_owned()).collect();
        let Setting { keys, secret } = with_key(|key| key.allowed_models = names);
        let caller = keys.of_secret(&secret).unwrap();
        assert_eq!(caller.may_use(asked, provider, model), may, "{allowed:?} {asked} {provider}/{model}");
    }
}
