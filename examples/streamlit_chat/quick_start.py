"""
One question, one answer, on Streamlit.

    streamlit run examples/streamlit_chat/quick_start.py
"""

import streamlit as st
from model import answer

from session_mw.integrations.streamlit import track_session

session = track_session()  # <- the one line: a session for this tab, a turn for each question

st.title("Harbour Lamps")
if question := st.text_input("Your question", placeholder="Where is my order 1042?"):
    st.write_stream(answer(question, []))
    st.caption(f"session {session.id}, turn {session.turn_number}")
