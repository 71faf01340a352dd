// The choice of a language, on every page. The server answers in the one that the cookie names.

const YEAR = 365 * 24 * 3600; // seconds

document.getElementById("language").addEventListener("change", ({ target }) => {
  const path = new URL("./", location.href).pathname; // of all pages, also below a path of a proxy
  const secure = location.protocol === "https:" ? "; secure" : "";
  document.cookie = `gradejax-language=${target.value}; path=${path}; max-age=${YEAR}; samesite=lax${secure}`;
  location.reload();
});
