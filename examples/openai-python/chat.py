"""Says one thing to the server and prints the answer as it comes.

python chat.py deploy the page action=deploy deployment_mode=local github_repo_url=URL target_namespace=demo instance_name=hello
python chat.py what is running?

Words are the message. `name=value` is a field of the request; with `action` among them the server does not read the message.
OPENAI_BASE_URL (http://127.0.0.1:8000/v1) and OPENAI_API_KEY are where the server is and its key.
"""

import os
import re
import sys

from openai import OpenAI

words = [it for it in sys.argv[1:] if not re.match(r"[a-z_]+=", it)]
fields = dict(it.split("=", 1) for it in sys.argv[1:] if re.match(r"[a-z_]+=", it))

client = OpenAI(
    base_url=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1"),
    api_key=os.environ.get("OPENAI_API_KEY", "none"),
)
stream = client.chat.completions.create(
    model="app-server-default",
    messages=[{"role": "user", "content": " ".join(words) or fields.get("action", "hello")}],
    stream=True,
    extra_body=fields,
)
for chunk in stream:
    if chunk.choices and chunk.choices[0].delta.content:
        print(chunk.choices[0].delta.content, end="", flush=True)
print()
