"""Images, sound and moderations through the official SDK."""

import base64
import io

import openai
import pytest


def test_images_are_made_plain_and_streamed(client):
    made = client.images.generate(model="gpt-image-1", prompt="a cat in space", n=2)
    events = list(client.images.generate(model="gpt-image-1", prompt="a cat", stream=True, partial_images=1))

    assert [base64.b64decode(image.b64_json)[:4] for image in made.data] == [b"\x89PNG"] * 2
    assert made.usage.output_tokens == 2_112
    assert [event.type for event in events] == ["image_generation.partial_image", "image_generation.completed"]


def test_an_image_is_edited(client):
    edited = client.images.edit(model="openai/gpt-image-1", prompt="a hat", image=("a.png", b"\x89PNG\r\n\r\n", "image/png"))

    assert edited.usage.input_tokens_details.image_tokens == 300


def test_sound_is_transcribed(client):
    sound = ("a.mp3", io.BytesIO(bytes(range(256)) * 16), "audio/mpeg")
    transcribe = client.audio.transcriptions.create

    plain = transcribe(model="whisper-1", file=sound)
    text = transcribe(model="whisper-1", file=sound, response_format="text")
    events = list(transcribe(model="gpt-4o-transcribe", file=sound, stream=True))

    assert plain.text == text.strip() == events[-1].text
    assert "".join(event.delta for event in events[:-1]) == plain.text


def test_speech_is_written_to_a_file(client, tmp_path):
    with client.audio.speech.with_streaming_response.create(model="tts-1", input="Hello", voice="alloy") as answer:
        answer.stream_to_file(tmp_path / "a.mp3")

    assert (tmp_path / "a.mp3").read_bytes().startswith(b"\xff\xfb")


def test_moderations_need_no_model(client):
    answer = client.moderations.create(input="hello")

    assert not answer.results[0].flagged
    assert answer.model == "omni-moderation-latest"


def test_a_model_that_nobody_has_is_not_found(client):
    with pytest.raises(openai.NotFoundError):
        client.audio.speech.create(model="no-such-voice", input="Hello", voice="alloy")
