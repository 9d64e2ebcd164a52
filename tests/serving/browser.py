"""A headless Chromium that a test drives over its pipe: open a page, run a script, choose files."""

import contextlib
import json
import os
import select
import shutil
import subprocess
import time

NAMES = ('chromium-headless-shell', 'chromium', 'google-chrome')
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
PATIENCE = 60.0


class Page:
    """One page; scripts of ours run beside its policy, its own script under it."""

    def __init__(self, profile):
        flags = ['--headless', '--no-sandbox', '--disable-gpu', '--remote-debugging-pipe']
        ours, theirs = os.pipe(), os.pipe()  # to the browser, from it
        # It reads commands from 3 and writes answers to 4. A fork of this process could hang.
        command = f'exec "$@" 3<&{ours[0]} 4>&{theirs[1]}'
        words = [str(BROWSER), *flags, f'--user-data-dir={profile}']
        self.process = subprocess.Popen(
            ['bash', '-c', command, 'bash', *words],
            pass_fds=(ours[0], theirs[1]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(ours[0])
        os.close(theirs[1])
        self.to, self.back = ours[1], theirs[0]
        self.count, self.had, self.session = 0, b'', None
        self.violations = []
        """What the browser complains of: above all what the page's policy forbids."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        for handle in (self.to, self.back):
            with contextlib.suppress(OSError):
                os.close(handle)

    def call(self, method, **params):
        """The result of a command of the DevTools protocol."""
        self.count += 1
        message = {'id': self.count, 'method': method, 'params': params}
        if self.session:
            message['sessionId'] = self.session
        os.write(self.to, json.dumps(message).encode() + b'\0')
        while True:
            found = self._message()
            if found.get('id') == self.count:
                assert 'error' not in found, found
                return found['result']
            if found.get('method') == 'Log.entryAdded':
                entry = found['params']['entry']
                if entry['source'] != 'network':  # an answer 422 is none
                    self.violations.append(entry['text'])

    def open(self, url):
        target = self.call('Target.createTarget', url='about:blank')['targetId']
        found = self.call('Target.attachToTarget', targetId=target, flatten=True)
        self.session = found['sessionId']
        self.call('Log.enable')
        self.call('Page.enable')
        self.call('Page.navigate', url=url)
        self.until('document.readyState === "complete"')

    def run(self, script):
        """The value of an expression."""
        found = self.call('Runtime.evaluate', expression=script, returnByValue=True)
        assert 'exceptionDetails' not in found, found
        return found['result'].get('value')

    def until(self, script):
        """Waits for an expression to be true; its value."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            value = self.run(script)
            if value:
                return value
            time.sleep(0.05)
        raise AssertionError(f'{script} stays false: {self.run("document.body.innerText")}')

    def choose(self, selector, path):
        """Puts a file into a field."""
        root = self.call('DOM.getDocument')['root']['nodeId']
        node = self.call('DOM.querySelector', nodeId=root, selector=selector)['nodeId']
        self.call('DOM.setFileInputFiles', nodeId=node, files=[str(path)])

    def _message(self):
        until = time.monotonic() + PATIENCE
        while b'\0' not in self.had:
            ready, _, _ = select.select([self.back], [], [], max(0, until - time.monotonic()))
            part = os.read(self.back, 2**16) if ready else b''
            assert part, 'the browser said nothing'
            self.had += part
        message, _, self.had = self.had.partition(b'\0')
        return json.loads(message)
