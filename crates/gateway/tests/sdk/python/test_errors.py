"""What goes wrong arrives as the exception that the SDK has for it, and is not sent again in vain."""

import openai
import pytest

from conftest import user


def test_a_bad_field_is_named(client, model, requests):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=model, messages=user("Hello."), temperature="hot")

    assert caught.value.param == "temperature"
    assert caught.value.type == "invalid_request_error" and caught.value.message
    assert len(requests) == 1


def test_missing_messages_are_named(client, model):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=model, messages=[])

    assert caught.value.param == "messages"


def test_an_unknown_model_is_not_found(client, requests):
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="gpt-4o-minni", messages=user("Hello."))

    assert caught.value.code == "model_not_found" and caught.value.param == "model"
    assert "gpt-4o-mini" in caught.value.message
    assert len(requests) == 1


def test_what_the_provider_refuses_reaches_the_caller(client, requests):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(
            model="gpt-4o-mini", messages=user("[upstream error=context_length status=400] Too long.")
        )

    assert caught.value.code == "context_length_exceeded"
    assert len(requests) == 1


@pytest.mark.parametrize("status", [500, 503])
def test_a_failing_provider_is_a_server_error(client, model, requests, status):
    with pytest.raises(openai.InternalServerError) as caught:
        client.with_options(max_retries=1).chat.completions.create(
            model=model, messages=user(f"[upstream status={status}] Hello.")
        )

    assert caught.value.status_code in (502, 503) and caught.value.message
    # The gateway has asked the provider twice already, and says so: the SDK does not multiply that.
    assert caught.value.response.headers["x-should-retry"] == "false" and len(requests) == 1


def test_a_failure_before_the_first_chunk_is_an_error_not_a_stream(client, model):
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model=model, messages=user("[upstream status=503] Hello."), stream=True)


def test_a_providers_rate_limit_is_a_rate_limit_error(client, model, requests):
    with pytest.raises(openai.RateLimitError) as caught:
        client.with_options(max_retries=1).chat.completions.create(
            model=model, messages=user("[upstream status=429 retry_after=1] Hello.")
        )

    assert caught.value.message and caught.value.request_id
    assert float(caught.value.response.headers["retry-after"]) <= 1
    # Waiting helps here, and the gateway says so: the SDK tries again as often as it was told to.
    assert caught.value.response.headers["x-should-retry"] == "true" and len(requests) == 2
