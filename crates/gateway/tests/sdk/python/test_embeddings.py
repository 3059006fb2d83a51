"""Embeddings, and the list of models."""

import base64
import struct

import openai
import pytest

from conftest import PROVIDER_OF, PROVIDER_OF_EMBEDDING


def test_floats_and_base64_are_the_same_numbers(client, embedding_model):
    plain = client.embeddings.create(model=embedding_model, input="one text", encoding_format="float")
    # Without encoding_format the SDK asks for base64 and decodes it itself.
    decoded = client.embeddings.create(model=embedding_model, input="one text")

    assert len(plain.data[0].embedding) > 0
    assert decoded.data[0].embedding == pytest.approx(plain.data[0].embedding, rel=1e-6)
    assert plain.usage.prompt_tokens > 0


def test_base64_is_given_as_asked(client, embedding_model):
    raw = client.embeddings.create(model=embedding_model, input="one text", encoding_format="base64")

    data = base64.b64decode(raw.data[0].embedding)
    assert len(struct.unpack(f"<{len(data) // 4}f", data)) > 0


def test_several_inputs_keep_their_order(client, embedding_model):
    texts = ["first", "second", "third"]

    together = client.embeddings.create(model=embedding_model, input=texts, encoding_format="float").data

    assert [item.index for item in together] == [0, 1, 2]
    for item, text in zip(together, texts):
        alone = client.embeddings.create(model=embedding_model, input=text, encoding_format="float").data[0]
        assert item.embedding == alone.embedding


def test_models_are_listed_with_their_owners(client):
    owners = {}
    for model in client.models.list():
        assert model.object == "model"
        owners.setdefault(model.id.removeprefix(f"{model.owned_by}/"), set()).add(model.owned_by)

    for model, provider in (PROVIDER_OF | PROVIDER_OF_EMBEDDING).items():
        assert provider in owners[model]
    assert {"auto", "fast", "cheap", "quality"} <= owners.keys()


def test_a_model_can_be_looked_up(client, model):
    assert client.models.retrieve(model).owned_by == PROVIDER_OF[model]


def test_a_model_that_nobody_has_cannot_be_looked_up(client):
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("no-such-model")
