"""What our keys, limits and budgets refuse arrives as the SDK's own exceptions, and is retried where that helps only."""

import os
import time

import httpx2 as httpx
import openai
import pytest

from conftest import BASE_URL, user

ADMIN = {"Authorization": f"Bearer {os.environ['GATEWAY_ADMIN_KEY']}"}


def new_key(**limits):
    url = os.environ["GATEWAY_URL"] + "/api/admin/keys"
    made = httpx.post(url, headers=ADMIN, json={"name": "sdk", **limits})
    assert made.status_code == 201, made.text
    return made.json()["key"]


@pytest.fixture
def client_with(requests):
    def make(key):
        http = openai.DefaultHttpxClient(event_hooks={"request": [requests.append]})
        return openai.OpenAI(base_url=BASE_URL, api_key=key, http_client=http)

    return make


def ask(client, **more):
    return client.chat.completions.create(model="gpt-4o-mini", messages=user("Hello."), **more)


def test_a_key_opens(client_with):
    assert ask(client_with(new_key())).choices[0].message.content


@pytest.mark.parametrize("key", ["sk-not-ours", "gw-development-mistyped"])
def test_a_key_that_opens_nothing_is_an_authentication_error(client_with, requests, key):
    new_key()
    with pytest.raises(openai.AuthenticationError) as caught:
        ask(client_with(key))

    assert caught.value.status_code == 401 and caught.value.code == "invalid_api_key"
    assert len(requests) == 1


def test_a_model_that_a_key_may_not_use_is_permission_denied(client_with, requests):
    with pytest.raises(openai.PermissionDeniedError) as caught:
        ask(client_with(new_key(allowed_models=["llama3.2"])))

    assert caught.value.code == "model_not_allowed" and caught.value.param == "model"
    assert len(requests) == 1


def test_a_budget_that_is_used_up_is_a_rate_limit_error_that_is_not_retried(client_with, requests):
    with pytest.raises(openai.RateLimitError) as caught:
        ask(client_with(new_key(monthly_budget_tokens=5)), max_tokens=50)

    assert caught.value.code == "budget_exceeded" and caught.value.type == "insufficient_quota"
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert len(requests) == 1


def test_a_limit_a_minute_is_waited_for(client_with, requests):
    client = client_with(new_key(rpm=60))
    while True:
        answer = client.with_options(max_retries=0).chat.completions.with_raw_response
        try:
            answer.create(model="gpt-4o-mini", messages=user("Hello."))
        except openai.RateLimitError as refused:
            assert refused.code == "rate_limit_exceeded"
            assert refused.response.headers["retry-after"] == "1"
            assert refused.response.headers["x-ratelimit-limit-requests"] == "60"
            break
    requests.clear()
    began = time.monotonic()

    assert ask(client.with_options(max_retries=2)).choices

    assert len(requests) == 2 and time.monotonic() - began > 0.8
