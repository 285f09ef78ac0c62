"""The Altair specifications of the page's charts; they know nothing of Streamlit."""
