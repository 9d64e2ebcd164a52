"""The page to try a server by hand: drop an image, type a text, see probabilities.

One file without other hosts; a policy lets nothing but its own script and style run, and the
script writes what it gets as text, never as markup.
"""

from __future__ import annotations

import base64
import hashlib

from ftjax.pages.page import page
from ftjax.pages.style_sheet import STYLE

_FORM = """
<p class="question" id="told">…</p>
<form id="ask">
<p id="images" hidden><label>An image: <input type="file" id="file" accept="image/*"></label>
 or drop one here.</p>
<p id="texts" hidden><label><span id="lines">A text</span>:<br>
<textarea id="text" rows="4" cols="60"></textarea></label></p>
<p id="table" hidden><label>A row, as JSON:<br>
<textarea id="row" rows="8" cols="60">{}</textarea></label></p>
<p><label>Token, if the server asks for one: <input type="password" id="token"
 autocomplete="off"></label></p>
<p><button id="go">Predict</button> <a href="docs">API</a></p>
</form>
<div class="wide"><canvas id="picture" width="0" height="0"></canvas></div>
<div class="wide"><table id="answer"></table></div>
<div class="wide"><table id="nearest"></table></div>
"""
_SCRIPT = """
const at = id => document.getElementById(id);
let takes = '', lines = '', dropped = null;
function headers(more) {
  const token = at('token').value;
  return token ? {...more, Authorization: 'Bearer ' + token} : more;
}
function fill(table, heads, rows) {
  table.replaceChildren();
  for (const cells of rows.length ? [heads, ...rows] : []) {
    const tr = table.insertRow();
    for (const cell of cells) {
      const td = tr.insertCell();
      if (typeof cell === 'number' && cell >= 0 && cell <= 1) {
        const bar = document.createElement('meter');
        bar.value = cell;
        td.append(bar, ' ' + (100 * cell).toFixed(2) + ' %');
      } else td.textContent = String(cell);
    }
  }
}
function clear(words) {
  for (const id of ['answer', 'nearest']) at(id).replaceChildren();
  [at('picture').width, at('picture').height] = [0, 0];
  at('told').textContent = words;
}
async function models() {
  const found = await fetch('v1/models', {headers: headers({})});
  const body = await found.json();
  if (!found.ok) { at('told').textContent = body.error.message; return; }
  const model = body.models[0];
  takes = model.takes;
  lines = model.lines;
  if (lines) at('lines').textContent = lines;
  at('told').textContent = model.name + ' (' + model.network + '), version ' + model.version
    + (model.ready ? '' : ': not ready yet');
  for (const id of ['images', 'texts', 'table']) at(id).hidden = id !== takes;
  if (takes === 'table' && at('row').value === '{}') {
    const api = await (await fetch('openapi.json', {headers: headers({})})).json();
    const bodies = api.paths['/v1/predict'].post.requestBody.content;
    at('row').value = JSON.stringify(bodies['application/json'].example.inputs[0], null, 1);
  }
}
async function encoded(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  let text = '';
  for (let i = 0; i < bytes.length; i += 8192)
    text += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return btoa(text);
}
async function paint(file, png) {
  const bytes = Uint8Array.from(atob(png), letter => letter.charCodeAt(0));
  const mask = await createImageBitmap(new Blob([bytes], {type: 'image/png'}));
  const canvas = at('picture'), context = canvas.getContext('2d');
  [canvas.width, canvas.height] = [mask.width, mask.height];
  try { context.drawImage(await createImageBitmap(file), 0, 0); } catch { /* not shown here */ }
  context.globalAlpha = 0.55;
  context.drawImage(mask, 0, 0);
}
const four = number => number.toFixed(4);
function said(answer, input) {
  if (answer.vector) return 'a vector of ' + answer.vector.length + ' numbers';
  if (answer.text !== undefined) return input + answer.text;
  if (answer.spans) return answer.spans.length
    ? answer.spans.map(span => span.type + ': ' + span.text).join('; ') : 'no spans';
  if (answer.choices) return 'predicted: ' + input[1 + answer.predicted];
  if (answer.scores) return 'best first:';
  return 'predicted: ' + ([answer.predicted].flat().join(', ') || 'none');
}
function table(answer, input) {
  if (answer.spans) return [['word', 'tag', 'probability'],
    answer.words.map((word, i) => [word, answer.predicted[i], answer.probability[i]])];
  if (answer.shares) return [['class', 'share of the image'], Object.entries(answer.shares)];
  if (answer.choices) return [['choice', 'probability'],
    answer.choices.map((share, i) => [input[i + 1], share])];
  if (answer.scores) return [['candidate', 'score'],
    answer.predicted.map(i => [input[i + 1], four(answer.scores[i])])];
  if (answer.vector) return [['place', 'number'],
    answer.vector.slice(0, 20).map((number, i) => [String(i), four(number)])];
  const classes = Object.entries(answer.probabilities || {}).sort((a, b) => b[1] - a[1]);
  return [['class', 'probability'], classes.slice(0, 20)];
}
async function ask(event) {
  if (event) event.preventDefault();
  if (at('go').disabled) return;
  at('go').disabled = true;
  clear('…');
  try {
    if (!takes) await models();
    let input = at('text').value, file = null;
    if (lines) input = input.split('\\n').filter(line => line.trim());
    if (takes === 'images') {
      file = dropped || at('file').files[0];
      if (!file) throw new Error('choose an image first');
      input = {image: await encoded(file)};
    } else if (takes === 'table') input = JSON.parse(at('row').value);
    const found = await fetch('v1/predict', {method: 'POST',
      headers: headers({'Content-Type': 'application/json'}),
      body: JSON.stringify({inputs: [input], nearest: 5})});
    const body = await found.json();
    if (!found.ok) throw new Error(body.error.message);
    const answer = body.predictions[0];
    at('told').textContent = said(answer, input);
    fill(at('answer'), ...table(answer, input));
    if (answer.mask) await paint(file, answer.mask.png);
    fill(at('nearest'), ['nearest reference example', 'predicted', 'distance'],
      (answer.nearest || []).map(n => [n.id, String(n.predicted), n.distance.toFixed(3)]));
  } catch (error) { clear(error.message); }
  at('go').disabled = false;
}
at('told').style.whiteSpace = 'pre-wrap';
at('ask').addEventListener('submit', ask);
at('token').addEventListener('change', models);
at('file').addEventListener('change', () => { dropped = null; });
document.addEventListener('dragover', event => event.preventDefault());
document.addEventListener('drop', event => {
  event.preventDefault();
  dropped = event.dataTransfer.files[0];
  ask();
});
models();
"""


def try_page() -> tuple[str, dict[str, str]]:
    """The page, and its headers."""
    whole = page('Try it', ['<h1>Try it</h1>', _FORM, f'<script>{_SCRIPT}</script>'])
    return whole, page_headers(_SCRIPT)


def page_headers(script: str = '') -> dict[str, str]:
    """Headers by which a browser runs this script alone, and no other page frames ours."""
    scripts = f"script-src 'sha256-{_digest(script)}'; " if script else ''
    return {
        'Content-Security-Policy': f"default-src 'none'; {scripts}style-src "
        f"'sha256-{_digest(STYLE)}'; connect-src 'self'; img-src data: blob:; "
        "form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
        'X-Content-Type-Options': 'nosniff',
        'Referrer-Policy': 'no-referrer',
    }


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
