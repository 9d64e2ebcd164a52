"""The report in a headless browser, wide and narrow, light and dark."""

import json
import re
import shutil
import subprocess

import pytest
from report_cases import report

BROWSER = next(
    filter(
        None,
        map(
            shutil.which,
            ('chromium-headless-shell', 'chromium', 'chromium-browser', 'google-chrome'),
        ),
    ),
    None,
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason='needs Chromium on the path'),
]
# What the browser has laid out: written into the page, which is then printed.
LOOK = """<script>
window.problems = [];
window.addEventListener('error', event => problems.push(event.message || 'no file'), true);
window.addEventListener('load', () => {
  const root = document.documentElement;
  for (const each of document.querySelectorAll('main *')) {
    const box = each.getBoundingClientRect();
    const wide = box.right > root.clientWidth + 1 && !each.closest('.wide, pre');
    if (wide) problems.push(each.tagName);
  }
  for (const each of document.images) if (!each.naturalWidth) problems.push('picture ' + each.alt);
  const page = getComputedStyle(document.body);
  const found = {scroll: root.scrollWidth, width: root.clientWidth, problems: problems.join('; '),
    page: page.backgroundColor, pictures: document.images.length};
  const told = document.createElement('p');
  told.id = 'found';
  told.textContent = JSON.stringify(found);
  document.body.appendChild(told);
});
</script>"""


def look(page, folder, width, *flags):
    """What a browser says of a page in a window of that width."""
    # Windows have a least width: the page is looked at in a frame.
    inner = folder / 'inner.html'
    inner.write_text(page.replace('<head>', f'<head>{LOOK}', 1), encoding='utf-8')
    outer = folder / 'outer.html'
    outer.write_text(
        f'<body style="margin:0"><iframe id="f" style="width:{width}px;height:900px;border:0" '
        'src="inner.html"></iframe><script>addEventListener("load", () => setTimeout(() => '
        'document.body.append(f.contentDocument.getElementById("found").textContent), 500))'
        '</script>'
    )
    done = subprocess.run(
        [
            BROWSER,
            *('--no-sandbox', '--headless', '--disable-gpu', '--allow-file-access-from-files'),
            *('--virtual-time-budget=9000', '--window-size=1400,1000', '--dump-dom', *flags),
            *('--enable-logging=stderr', '--v=0'),
            outer.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    said = [line for line in done.stderr.splitlines() if 'CONSOLE' in line]
    assert not said, said
    found = re.search(r'\{"scroll".*\}', done.stdout)
    assert found, done.stdout[-500:] + done.stderr[-500:]
    return json.loads(found[0])


@pytest.mark.parametrize('kind', ['images', 'two', 'pairs', 'multilabel', 'regression', 'masked'])
def test_nothing_overflows_and_every_picture_shows(kind, tmp_path):
    page = report(kind, groups=True, freeze='gradual').html()
    for width in (1200, 400):
        found = look(page, tmp_path, width)
        assert found['scroll'] <= found['width'] <= width, found
        assert found['problems'] == '' and found['pictures'] >= 5, found


def test_a_dark_screen_gets_a_dark_page(tmp_path):
    page = report('two').html()
    light = look(page, tmp_path, 800, '--blink-settings=preferredColorScheme=1')
    dark = look(page, tmp_path, 800, '--blink-settings=preferredColorScheme=0')
    assert light['page'] == 'rgb(255, 255, 255)' and dark['page'] == 'rgb(20, 24, 29)'
