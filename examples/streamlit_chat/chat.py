"""
A chat on Streamlit, with an agent that looks up orders. No key, no network.

    streamlit run examples/streamlit_chat/chat.py
"""

import streamlit as st
from model import answer

from session_mw.integrations.streamlit import track_session

st.set_page_config(page_title="Harbour Lamps", page_icon="💡")

# The one line. A question is a turn; the buttons beside it are none.
session = track_session(turn="question", type="chat", prompt_version="v2")
messages = st.session_state.setdefault("messages", [])


def rate() -> None:
    """A callback: it runs before the script, in the same session."""
    if (stars := st.session_state.stars) is not None:
        session.satisfaction(stars / 4)


with st.sidebar:
    st.header("This session")
    st.caption("How was it?")
    st.feedback("stars", key="stars", on_change=rate)
    if st.button("New chat", help="Another conversation in the same session"):
        messages.clear()
    if st.button("Solved", help="The session ends as resolved; the next question begins another"):
        session.outcome("resolved")
        session.end("completed")
        messages.clear()
    numbers = st.empty()

st.title("Harbour Lamps")
for message in messages:
    with st.chat_message(message["role"]):
        st.markdown(message["content"])

if question := st.chat_input("Where is my order 1042?", key="question"):
    with st.chat_message("user"):
        st.markdown(question)
    history = messages.copy()
    messages.append({"role": "user", "content": question})
    with st.chat_message("assistant"):
        text = st.write_stream(answer(question, history))
    messages.append({"role": "assistant", "content": text})

totals = session.metrics()
numbers.markdown(f"`{session.id}`\n\n{totals['turns']} turns, {totals['tokens'] or 0} tokens")
