"""
A chat as users of back ends have one: FastAPI, OpenAI's client instrumented by OpenInference, the real OTLP exporter.

    uvicorn tests.backends.application:app

The model is ``tests.instrumentations.fake_models`` (``MODELS_URL``), which keeps a book for each session.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import openai
from fastapi import FastAPI, HTTPException
from fastapi.responses import StreamingResponse
from openinference.instrumentation.openai import OpenAIInstrumentor
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from pydantic import BaseModel

from session_mw import SessionSettings, current_session, tool_call, turn_endpoint
from session_mw.integrations.fastapi import SessionDep, SessionTracking

MODEL = "gpt-4.1"
PROMPTS = {"v1": "Answer briefly.", "v2": "Answer briefly and kindly, and say where you know it from."}

provider = TracerProvider()  # resource, endpoint, headers: OTEL_*
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(), schedule_delay_millis=200))
trace.set_tracer_provider(provider)
OpenAIInstrumentor().instrument(tracer_provider=provider)


class Ask(BaseModel):
    """A message, what went before, and which experiment it is part of."""

    message: str
    history: list[dict[str, str]] = []
    kind: str = "chat"
    version: str = "v1"
    name: str | None = None

    @property
    def messages(self) -> list[Any]:
        """All of it as the model takes it; the version of the prompt in front."""
        prompt = {"role": "system", "content": PROMPTS[self.version]}
        return [prompt, *self.history, {"role": "user", "content": self.message}]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Send the last spans."""
    yield
    await asyncio.to_thread(provider.shutdown)


app = FastAPI(lifespan=lifespan)
SessionTracking(app, SessionSettings(user=lambda request: request.header("x-user")))


def client() -> openai.AsyncOpenAI:
    """Return a client whose calls stand in the session's own book."""
    session = current_session()
    assert session is not None
    return openai.AsyncOpenAI(
        base_url=f"{os.environ['MODELS_URL']}/{session.id}/v1", api_key="none-is-needed", max_retries=0
    )


@app.get("/health")
async def health() -> dict[str, str]:
    """Say that the service is up."""
    return {"status": "ok"}


@app.get("/")
async def page() -> dict[str, str]:
    """Stand for the page that the chat is on."""
    return {"page": "chat"}


@app.post("/logout")
@turn_endpoint(False)
async def logout(session: SessionDep) -> dict[str, str]:
    """End the session."""
    session.end()
    return {"status": "ended"}


@app.post("/chat")
async def chat(ask: Ask, session: SessionDep) -> dict[str, Any]:
    """Answer in one piece, after a look at what is known."""
    session.set(type=ask.kind, prompt_version=ask.version, name=ask.name)
    with tool_call("look_up"):
        await asyncio.sleep(0)
    try:
        answer = await client().chat.completions.create(model=MODEL, messages=ask.messages)
    except openai.APIStatusError as error:
        raise HTTPException(502, "the model did not answer") from error
    return {"answer": answer.choices[0].message.content, "session": session.id}


@app.post("/chat/stream")
async def chat_stream(ask: Ask, session: SessionDep) -> StreamingResponse:
    """Answer word by word."""
    session.set(type=ask.kind, prompt_version=ask.version, name=ask.name)

    async def events() -> AsyncIterator[str]:
        stream = await client().chat.completions.create(
            model=MODEL, messages=ask.messages, stream=True, stream_options={"include_usage": True}
        )
        async for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                yield f"data: {json.dumps({'answer': chunk.choices[0].delta.content})}\n\n"
        yield f"data: {json.dumps({'session': session.id})}\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")
