"""A browser's end of Streamlit's protocol, for tests with many of them at once: it runs, sends and closes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from websockets.sync.client import connect

from .serving import PATIENCE


class Client:
    """
    One browser tab.

    Args:
        port: Of the server.
        resume: Streamlit's id of a session to come back to.
        headers: Sent with the handshake.
    """

    def __init__(self, port: int, resume: str = "", **headers: str) -> None:
        protocols: list[Any] = ["streamlit", "unused", resume] if resume else ["streamlit"]
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        self._stack = ExitStack()
        self._socket = self._stack.enter_context(
            connect(
                f"ws://127.0.0.1:{port}/_stcore/stream", subprotocols=protocols, additional_headers=named, max_size=None
            )
        )
        self.host_id = ""
        self._widgets: dict[str, Any] = {}
        self._ids: dict[str, str] = {}
        self.texts: list[str] = []

    def run(self) -> list[str]:
        """Run the page as it is, and return the texts that it showed."""
        return self._send([])

    def say(self, text: str) -> list[str]:
        """Send a message through ``st.chat_input``."""
        return self._send([self._message(text)])

    def press(self, label: str) -> list[str]:
        """Press a button."""
        return self._send([self._widget(label, "trigger_value", True)])

    def press_and_go_on(self, label: str) -> None:
        """Press a button, and wait for nothing."""
        self._request([self._widget(label, "trigger_value", True)])

    def until(self, text: str) -> None:
        """Wait until the page shows a text."""
        while text not in self.texts:
            self._read(lambda kind: True)

    def close(self) -> None:
        """Close the tab."""
        self._stack.close()

    def _message(self, text: str) -> Any:
        from streamlit.proto import Common_pb2

        if not hasattr(Common_pb2, "ChatInputValue"):  # earlier versions
            return self._widget("chat_input", "string_trigger_value", Common_pb2.StringTriggerValue(data=text))
        return self._widget("chat_input", "chat_input_value", Common_pb2.ChatInputValue(data=text))

    def _widget(self, label: str, kind: str, value: Any) -> Any:
        from streamlit.proto.WidgetStates_pb2 import WidgetState

        state = WidgetState(id=self._ids[label])
        if isinstance(value, bool):
            setattr(state, kind, value)
        else:
            getattr(state, kind).CopyFrom(value)
        return state

    def _send(self, widgets: list[Any]) -> list[str]:
        self._request(widgets)
        self._read(lambda kind: kind == "script_finished")
        return self.texts

    def _request(self, widgets: list[Any]) -> None:
        from streamlit.proto.BackMsg_pb2 import BackMsg

        message = BackMsg()
        message.rerun_script.widget_states.widgets.extend(widgets)
        self.texts = []
        self._socket.send(message.SerializeToString())

    def _read(self, last: Callable[[str], bool]) -> None:
        from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

        while True:
            message = ForwardMsg()
            data = self._socket.recv(PATIENCE)
            assert isinstance(data, bytes)
            message.ParseFromString(data)
            kind = message.WhichOneof("type") or ""
            if kind == "new_session":
                self.host_id = message.new_session.initialize.session_id
            elif kind == "delta" and message.delta.WhichOneof("type") == "new_element":
                self._learn(message.delta.new_element)
            if last(kind):
                return

    def _learn(self, element: Any) -> None:
        kind = element.WhichOneof("type")
        if kind == "button":
            self._ids[element.button.label] = element.button.id
        elif kind == "chat_input":
            self._ids["chat_input"] = element.chat_input.id
        elif kind == "markdown":
            self.texts.append(element.markdown.body)
