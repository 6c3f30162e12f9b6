"""Verifies requests with the official library of Standard Webhooks.

In: a JSON list on standard input, each with secret, headers and body in base64. Out: a JSON list of "valid" or the reason.
"""

import base64
import json
import sys

from standardwebhooks import Webhook


def verdict(request):
    try:
        Webhook(request["secret"]).verify(base64.b64decode(request["body"]), request["headers"])
        return "valid"
    except Exception as error:
        return str(error)


print(json.dumps([verdict(request) for request in json.load(sys.stdin)]))
