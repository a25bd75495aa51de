"""Uploads files through Access Anywhere, which shows them in its index at once."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from jibe_sqs.sandbox.access_anywhere.server import NO_FAULTS_HEADER
from jibe_sqs.sandbox.environment import NO_AUTHORITIES

MAX_ATTEMPTS = 20


class _FolderGone(Exception):
    """A folder that existed was removed."""


class Uploader:
    """Uploads files through Access Anywhere's API. Safe for threads: uploads are made one after the other."""

    def __init__(self, endpoint: str, permanent_token: str, bucket_map: Mapping[str, Sequence[str]]) -> None:
        """`bucket_map`: bucket -> the folders that show it.

        A file is uploaded to each of them, because each has its own entries in the index.
        """
        # Faults are meant for the service under test, not for these uploads.
        self._http = httpx.Client(
            base_url=endpoint, timeout=60, trust_env=False, verify=NO_AUTHORITIES, headers={NO_FAULTS_HEADER: "y"}
        )
        self._permanent_token = permanent_token
        self._bucket_map = bucket_map
        self._token = ""
        self._lock = threading.Lock()

    def __call__(self, bucket: str, key: str, body: bytes) -> None:
        """Upload one object."""
        with self._lock:
            for place in self._bucket_map[bucket]:
                self._upload(place, key, body)

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def _upload(self, place: str, key: str, body: bytes) -> None:
        folders, _, name = key.rpartition("/")
        for tries in range(1, MAX_ATTEMPTS + 1):
            try:
                above = self._folder(place, folders.split("/") if folders else [])
                self._send(above, name, body)
            except _FolderGone:
                # A refresh removed the new folder before the upload, while it was empty.
                if tries == MAX_ATTEMPTS:
                    raise
            else:
                return

    def _folder(self, place: str, names: list[str]) -> str:
        """The id of a folder. Missing folders are created."""
        found = self._rpc("checkPathExists", path="/".join([place, *names]))
        if found.get("exists") == "y" or not names:
            return str(found["file"]["fi_id"])
        above = self._folder(place, names[:-1])
        return str(self._rpc("doCreateNewFolder", fi_pid=above, fi_name=names[-1])["file"]["fi_id"])

    def _send(self, above: str, name: str, body: bytes) -> None:
        size = len(body)
        announced = self._rpc(
            "doInitUpload", fi_name=name, fi_filename=name, fi_pid=above, fi_size=size, responsetype="json"
        )
        code = announced["uploadcode"]
        reply = self._http.post(f"/cgi-bin/uploader/uploader1.cgi?{code}", files={"datafile": (name, body)})
        if reply.raise_for_status().json().get("success") != "y":
            raise RuntimeError(f"the uploader refused {name!r}: {reply.text}")
        self._rpc("doCompleteUpload", uploadcode=code, fi_size=size)

    def _rpc(self, function: str, **parameters: Any) -> dict[str, Any]:
        if not self._token:
            answer = self._post("getTokenByAuthToken", token="*", authtoken=self._permanent_token)  # noqa: S106
            self._token = answer["token"]
        return self._post(function, token=self._token, **parameters)

    def _post(self, function: str, **parameters: Any) -> dict[str, Any]:
        reply = self._http.post("/api/rpc.php", data={"function": function, "apiformat": "json", **parameters})
        answer: dict[str, Any] = reply.raise_for_status().json()
        if answer.get("status") in ("not_found", "trashed"):
            raise _FolderGone(f"{function}: {answer.get('statusmessage')}")
        if answer.get("status") != "ok":
            raise RuntimeError(f"{function}: {answer.get('status')}: {answer.get('statusmessage')}")
        return answer
