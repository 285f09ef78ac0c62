# The page for hosts. tests/test_container.py runs every line of it, without building it.
FROM python:3.12-slim
WORKDIR /app
COPY requirements.txt .
RUN sed 's/^tensorflow>/tensorflow-cpu>/' requirements.txt | pip install --no-cache-dir -r /dev/stdin
COPY LICENSE streamlit_app.py ./
COPY .streamlit .streamlit
COPY explorer explorer
# Whichever user the host runs it as, runs, checkpoints and data sets have a place; mount a disk there to keep them.
RUN mkdir -m 777 /data
ENV HOME=/data EXPLORER_HOME=/data/explorer KERAS_HOME=/data/keras PORT=7860
VOLUME /data
USER 1000
EXPOSE 7860
HEALTHCHECK --start-period=60s CMD python -c "import os, urllib.request as web; web.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/healthz', timeout=5)"
CMD exec streamlit run streamlit_app.py --server.address 0.0.0.0 --server.port $PORT --server.headless true
