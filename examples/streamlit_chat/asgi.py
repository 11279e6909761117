"""
The same chat as an application: with the middleware, a reload and a second tab are the same session.

    uvicorn asgi:app --app-dir examples/streamlit_chat        # Streamlit 1.57 or later
"""

from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware

from session_mw import SessionSettings
from session_mw.asgi import SessionTrackingMiddleware

settings = SessionSettings.insecure_dev(store="sqlite:///sessions.db")
app = st.App(Path(__file__).with_name("chat.py"), middleware=[Middleware(SessionTrackingMiddleware, settings)])
