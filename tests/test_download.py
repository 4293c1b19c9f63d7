"""Downloads against a server on this machine that breaks off, resumes and lies as told."""

import hashlib
import http.server
import threading

import pytest

from icm.__main__ import main
from icm.commands import download as download_command
from icm.download import DownloadError, cache_folder, download, is_complete

CONTENT = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves ``content``; a dropped connection sends only ``drop_after`` bytes, ``drops`` times."""

    content = CONTENT
    etag = '"first"'
    drops = 0
    drop_after = 100_000
    ranges = True
    page = False
    requests: list

    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/file.bin"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        wanted = self.headers.get("Range")
        server.requests.append(wanted)
        if self.path != "/file.bin":
            self.send_error(404)
            return
        start = 0
        if wanted and server.ranges and self.headers.get("If-Range", server.etag) == server.etag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start >= len(server.content) > 0 and start:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(server.content)}")
            self.end_headers()
            return
        body = server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", "text/html" if server.page else "application/octet-stream")
        self.send_header("Content-Length", str(len(body)))
        if server.etag:
            self.send_header("ETag", server.etag)
        self.end_headers()
        if server.drops:
            server.drops -= 1
            body = body[: server.drop_after]
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    with Server(("127.0.0.1", 0), Handler) as server:
        server.requests = []
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def fetch(server, path, **options):
    return download(server.url(), path, **{"progress": False, **options})


def left_over(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_arrives_whole_in_a_new_folder(server, tmp_path):
    path = tmp_path / "new" / "file.bin"
    assert fetch(server, path, sha256=SHA256, size=len(CONTENT)) == path
    assert path.read_bytes() == CONTENT
    assert left_over(path.parent) == ["file.bin"]


def test_a_broken_connection_is_resumed_where_it_broke(server, tmp_path):
    server.drops = 3
    fetch(server, tmp_path / "file.bin", sha256=SHA256)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.requests == [None, "bytes=100000-", "bytes=200000-", "bytes=300000-"]


def test_a_connection_that_brings_nothing_is_given_up_and_resumed_by_the_next_call(server, tmp_path):
    server.drops, server.drop_after = 1, 250_000
    path = tmp_path / "file.bin"
    fetch_part(server, path)
    assert left_over(tmp_path) == [".file.bin.part", ".file.bin.part.etag"]
    server.drops = 0
    fetch(server, path, sha256=SHA256)
    assert server.requests[-1] == "bytes=250000-"
    assert path.read_bytes() == CONTENT
    assert left_over(tmp_path) == ["file.bin"]


def fetch_part(server, path):
    """A download that dies after its first connection."""
    first = server.drop_after

    class Dying(Exception):
        pass

    def die(response, file, *arguments):
        file.write(response.read(first))
        raise Dying

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("icm.download._copy", die)
        with pytest.raises(Dying):
            fetch(server, path, sha256=SHA256)
    assert not path.exists()


def test_no_endless_retries(server, tmp_path):
    server.drops, server.drop_after = 1000, 0
    with pytest.raises(DownloadError, match="the connection ended after 0 of"):
        fetch(server, tmp_path / "file.bin")
    assert len(server.requests) < 10
    assert not (tmp_path / "file.bin").exists()


def test_a_server_without_ranges_starts_over(server, tmp_path):
    server.drops, server.ranges = 1, False
    fetch(server, tmp_path / "file.bin", sha256=SHA256)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_file_that_changed_on_the_server_is_not_mixed_with_its_old_part(server, tmp_path):
    fetch_part(server, tmp_path / "file.bin")
    server.content, server.etag = CONTENT[::-1], '"second"'
    fetch(server, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT[::-1]


def test_a_part_that_is_whole_already_is_finished(server, tmp_path):
    (tmp_path / ".file.bin.part").write_bytes(CONTENT)
    fetch(server, tmp_path / "file.bin", sha256=SHA256)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_part_that_is_too_long_is_thrown_away(server, tmp_path):
    (tmp_path / ".file.bin.part").write_bytes(CONTENT + b"more")
    fetch(server, tmp_path / "file.bin", sha256=SHA256)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("expected", "reason"), [({"sha256": "0" * 64}, f"SHA-256 is {SHA256}"), ({"size": 7}, "instead of 7")]
)
def test_the_wrong_file_is_refused_and_leaves_nothing(server, tmp_path, expected, reason):
    with pytest.raises(DownloadError, match=reason):
        fetch(server, tmp_path / "file.bin", **expected)
    assert left_over(tmp_path) == []


def test_the_wrong_file_does_not_replace_an_old_one(server, tmp_path):
    (tmp_path / "file.bin").write_bytes(b"old")
    with pytest.raises(DownloadError):
        fetch(server, tmp_path / "file.bin", sha256="0" * 64)
    assert (tmp_path / "file.bin").read_bytes() == b"old"


def test_a_complete_file_is_not_fetched_again(server, tmp_path):
    fetch(server, tmp_path / "file.bin", sha256=SHA256)
    fetch(server, tmp_path / "file.bin", sha256=SHA256)
    assert len(server.requests) == 1
    (tmp_path / "file.bin").write_bytes(CONTENT[:-1])
    assert not is_complete(tmp_path / "file.bin", SHA256)
    fetch(server, tmp_path / "file.bin", sha256=SHA256)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_two_downloads_of_one_file_do_not_disturb_each_other(server, tmp_path):
    server.drops = 4
    path, failures = tmp_path / "file.bin", []

    def work():
        try:
            fetch(server, path, sha256=SHA256)
        except DownloadError as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert path.read_bytes() == CONTENT
    assert len(server.requests) == 5


def test_a_web_page_in_place_of_the_file_is_refused(server, tmp_path):
    server.page = True
    with pytest.raises(DownloadError, match="web page"):
        fetch(server, tmp_path / "file.bin")
    assert left_over(tmp_path) == []


def test_a_missing_file_and_no_network_are_one_line_with_url_and_target(server, tmp_path):
    path = tmp_path / "file.bin"
    cases = [(server.url() + "x", "404"), ("http://127.0.0.1:9/x", "no connection"), ("http://x.invalid/", "no conn")]
    for url, reason in cases:
        with pytest.raises(DownloadError, match=reason) as caught:
            download(url, path, progress=False)
        assert url in str(caught.value)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert left_over(tmp_path) == []


def test_the_bar_counts_bytes(server, tmp_path, capsys):
    fetch(server, tmp_path / "file.bin", progress=True)
    assert "file.bin: 100%" in capsys.readouterr().err


# The command ---------------------------------------------------------------------------------------------------------


def test_command_tries_everything_and_fails_when_one_failed(monkeypatch, capsys, tmp_path):
    def deliver(name):
        if name == "arcface":
            raise DownloadError("arcface is gone")
        return tmp_path / name

    monkeypatch.setattr(download_command.weights, "fetch", deliver)
    assert main(["download", "weights", "paper", "sface", "dlib"]) == 1
    printed = capsys.readouterr()
    names = [line.rsplit("/", 1)[1] for line in printed.out.split()]
    assert names == ["vggface", "facenet", "openface", "sface", "ghostfacenet", "dlib"]
    assert printed.err == "icm download: arcface is gone\n"


def test_command_refuses_unknown_names(capsys):
    assert main(["download", "weights", "nonsense"]) == 1
    assert "choose from paper, vggface" in capsys.readouterr().err
    assert main(["download", "sam", "vit_x"]) == 1
    assert "choose from vit_b, vit_l, vit_h" in capsys.readouterr().err


def test_command_puts_coco15_where_it_is_told(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("icm.faces.sources.COCO_HOST", "http://127.0.0.1:9")
    assert main(["download", "coco15", "--path", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count(str(tmp_path)) == 15


def test_the_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("ICM_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("ICM_CACHE")
    assert cache_folder().parts[-2:] == (".cache", "icm")


def test_one_folder_holds_all_that_is_kept(monkeypatch, tmp_path):
    from icm import download as module
    from icm.faces.sources import Coco15Faces
    from icm.masks.sam_weights import default_folder

    monkeypatch.setenv("ICM_CACHE", str(tmp_path / "environment"))
    assert module.cache_folder() == tmp_path / "environment"
    monkeypatch.setattr(module, "_cache_folder", None)
    module.use_cache_folder(tmp_path / "asked")
    assert module.cache_folder() == tmp_path / "asked"
    assert Coco15Faces().path == tmp_path / "asked" / "coco15"
    assert default_folder() == tmp_path / "asked" / "sam"
