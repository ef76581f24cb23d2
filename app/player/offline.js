// A file that holds the player and its buffer: shown as the page of the app shows what comes from the server.

const text = atob(document.getElementById("buffer").textContent);
const buffer = new Uint8Array(text.length);
for (let n = 0; n < text.length; n++) buffer[n] = text.charCodeAt(n);

const show = () => mount({ data: buffer, parentElement: document.body, setStateValue() {} });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
show();
