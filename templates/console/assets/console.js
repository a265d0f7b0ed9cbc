// What makes the pages alive beside the streams of htmx: times, copying, keys, title and icon, the log. No page needs it.
"use strict";
(() => {
  const find = (selector, within = document) => within.querySelector(selector);
  const all = (selector, within = document) => within.querySelectorAll(selector);
  const on = (name, listener, target = document) => target.addEventListener(name, listener);
  const write = (element, text) => element && element.textContent !== text && (element.textContent = text);

  // A browser may forbid to keep anything.
  const kept = (storage, name, value) => {
    try {
      if (value === null) window[storage].removeItem(name);
      else if (value !== undefined) window[storage].setItem(name, value);
      return window[storage].getItem(name);
    } catch {
      return null;
    }
  };

  // Times, in the words of `age` in src/http/console/render.rs.
  const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });
  const moments = new WeakMap();
  const age = (seconds) => {
    if (seconds < 5) return "just now";
    if (seconds < 60) return `${seconds} s ago`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
    if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ago`;
    return `${Math.floor(seconds / 86400)} days ago`;
  };
  const showTimes = () => {
    for (const element of all("time[datetime*=T]")) {
      const text = element.dateTime;
      let moment = moments.get(element);
      if (moment?.text !== text) {
        moment = { text, at: Date.parse(text) };
        moments.set(element, moment);
        if (!Number.isNaN(moment.at)) element.title = exact.format(moment.at);
      }
      if (!Number.isNaN(moment.at)) write(element, age(Math.floor((Date.now() - moment.at) / 1000)));
    }
  };
  setInterval(() => document.hidden || showTimes(), 30_000);

  // Copying. Without https a browser has no clipboard for scripts, but still copies what is selected.
  const announce = (text) => write(find("#announcement"), text);
  const copy = async (text) => {
    try {
      return await navigator.clipboard.writeText(text);
    } catch {
      // Below.
    }
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "visually-hidden";
    (find("dialog[open]") ?? document.body).append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    if (!done) throw new Error("the browser does not let a page copy");
  };
  on("click", async ({ target }) => {
    const button = target.closest("[data-copy]");
    if (!button || button.dataset.was) return;
    let text = "Copied";
    await copy(button.dataset.copy).catch(() => { text = "Not copied"; });
    button.focus();
    button.dataset.was = button.textContent;
    write(button, text);
    announce(text);
    setTimeout(() => {
      write(button, button.dataset.was);
      delete button.dataset.was;
      announce("");
    }, 2000);
  });
  const showButtons = () => all("[data-copy][hidden], #keys-open[hidden]").forEach((it) => { it.hidden = false; });

  // Title and icon follow the state that the page shows.
  const icon = find("link[rel=icon]");
  const show = () => {
    showTimes();
    showButtons();
    const state = find("#page-state");
    if (!state) return;
    const title = `${state.dataset.state === "running" ? "● " : ""}${state.dataset.title} · on-demand-infra`;
    if (document.title !== title) document.title = title;
    const address = icon?.dataset[state.dataset.state] ?? icon?.dataset.idle;
    if (address && icon.getAttribute("href") !== address) icon.setAttribute("href", address);
  };

  // On a phone the navigation may be wider than the screen.
  const places = find(".places");
  const here = places && find("[aria-current]", places);
  if (here) places.scrollLeft = here.offsetLeft + here.offsetWidth / 2 - places.clientWidth / 2;

  // Keys, which somebody whose device types them by itself can switch off.
  const help = find("#keys-help");
  const keysOn = find("#keys-on");
  if (keysOn) {
    keysOn.checked = kept("localStorage", "keys") !== "off";
    on("change", () => kept("localStorage", "keys", keysOn.checked ? "on" : "off"), keysOn);
  }
  find("#keys-open")?.addEventListener("click", () => help.showModal());
  const typing = "input:not([type=checkbox], [type=radio], [type=button], [type=submit]), textarea, select, [contenteditable]";
  let went = 0;
  on("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.defaultPrevented) return;
    if (keysOn?.checked === false || event.target.closest?.(typing) || find("dialog[open]")) return;
    const afterG = Date.now() - went < 1500;
    went = 0;
    const go = (path) => find(`header a[href="${path}"]`)?.click();
    if (event.key === "g") went = Date.now();
    else if (afterG && event.key === "d") go("/");
    else if (afterG && event.key === "o") go("/operations");
    else if (afterG && event.key === "c") go("/chat");
    else if (afterG && event.key === "t") go("/targets");
    else if (afterG && event.key === "k") go("/keys");
    else if (event.key === "n") go("/new");
    else if (event.key === "?") help?.showModal();
    else if (event.key === "/") {
      const field = find("main :is([type=search], [data-search])");
      event.preventDefault();
      // A browser puts the cursor where an address leads.
      if (!field) return location.assign("/#q");
      field.focus();
      field.select();
    }
  });

  // Forms: what belongs to another mode is neither seen nor sent; what is sent once has a button that says so.
  const showMode = () => {
    const mode = find("input[name=deployment_mode]:checked")?.value;
    for (const part of all("fieldset[data-mode]")) {
      part.hidden = part.disabled = !part.dataset.mode.split(" ").includes(mode);
    }
  };
  on("change", ({ target }) => target.name === "deployment_mode" && showMode());
  const sent = (form, is) => all("button", form).forEach((it) => {
    it.disabled = is;
    it.ariaBusy = is ? "true" : null;
  });
  on("submit", (event) => {
    const form = event.target;
    // Later: a button that is disabled now would not be sent with its form.
    if (form.matches("[data-once]")) setTimeout(() => event.defaultPrevented || sent(form, true));
  });
  // A page that comes back out of the browser's memory.
  on("pageshow", ({ persisted }) => {
    if (persisted) all("form[data-once]").forEach((it) => sent(it, false));
    showMode();
    show();
  }, window);

  // Streams. A short break is nobody's concern.
  let later;
  const notice = (text, delay = 1000) => {
    clearTimeout(later);
    later = setTimeout(() => write(find("#connection"), text), text ? delay : 0);
  };
  const alive = () => {
    notice("");
    kept("sessionStorage", "reloaded", null);
  };
  const broken = () => notice("Reconnecting…");
  // The session is over, or what the page shows is gone: its own address says which.
  const reload = () => {
    if (kept("sessionStorage", "reloaded") === location.href) return notice("This page does not follow what happens any more", 0);
    kept("sessionStorage", "reloaded", location.href);
    location.reload();
  };
  const source = (element) => element.getAttribute?.("hx-sse:connect");
  const waiting = new Set();
  const over = new WeakSet();
  const connect = (element) => {
    if (!element.isConnected || over.has(element)) return;
    if (document.hidden) return waiting.add(element);
    htmx.ajax("GET", source(element), { source: element });
  };
  const refused = (element, status) => {
    if (status !== 401 && status !== 404) return broken();
    over.add(element);
    reload();
  };
  // htmx pauses the stream of a page that is being hidden, but opens that of one that was never seen.
  on("htmx:before:request", (event) => {
    if (!source(event.target) || !document.hidden) return;
    event.preventDefault();
    waiting.add(event.target);
  });
  on("htmx:sse:before:connection", (event) => over.has(event.target) && event.preventDefault());
  on("htmx:sse:before:message", ({ detail }) => document.hidden && detail.connection.reader?.cancel());
  on("visibilitychange", () => {
    if (document.hidden) return;
    showTimes();
    const elements = [...waiting];
    waiting.clear();
    elements.forEach(connect);
  });
  on("htmx:sse:error", ({ target, detail }) => refused(target, detail.status));
  on("htmx:sse:after:connection", alive);
  on("htmx:sse:after:message", alive);
  on("htmx:sse:close", ({ detail }) => detail.reason === "message" && alive());
  // The first connection is a request like any other to htmx: it would show the answer, and not try again.
  on("htmx:response:error", ({ target, detail: { ctx } }) => {
    if (!source(target)) {
      // A page about what is wrong has no place within this one.
      if (!/^\s*<!doctype/i.test(ctx.text)) return;
      ctx.swap = "none";
      const page = new DOMParser().parseFromString(ctx.text, "text/html");
      notice(page.querySelector(".message")?.textContent ?? `This does not work now (${ctx.response.status})`, 0);
      return;
    }
    ctx.swap = "none";
    ctx.hx = {};
    refused(target, ctx.response.status);
    if (!over.has(target)) setTimeout(connect, 3000, target);
  });
  on("htmx:error", ({ target, detail }) => {
    if (!source(target) || !detail.ctx || target._htmx?.sse) return;
    broken();
    setTimeout(connect, 3000, target);
  });
  on("htmx:after:swap", show);

  // What the reader has opened stays as it is when a part of the page comes anew.
  const opened = new WeakSet();
  on("click", ({ target }) => {
    const summary = target.closest("summary");
    if (summary) opened.add(summary.parentElement);
  });
  window.htmx?.registerExtension("console", {
    htmx_before_morph_attr: (element, { attrName }) => !(
      (attrName === "open" && opened.has(element))
      || (attrName === "title" && element.matches("time"))
      || (attrName === "hidden" && element.matches("[data-copy]"))
    ),
  });

  // The log. Lines are kept in blocks, so that the browser lays out the few that are seen and old ones go together.
  const BLOCK = 500;
  const MOST = 100_000;
  const follow = (log) => {
    const stick = find("#log-follow");
    const search = find("#log-search");
    let queue = [];
    let lines = 0;
    let wanted = search?.value.trim().toLowerCase() ?? "";
    let isOld = true;
    let hasEnded = false;
    let frame = 0;
    let top = 0;
    let stream;

    let count = find("#log-count");
    if (search && !count) {
      count = document.createElement("span");
      count.className = "quiet";
      count.setAttribute("role", "status");
      (search.closest(".toolbar") ?? log.parentElement).append(count);
    }
    const size = (block) => {
      const shown = block.childElementCount - block.hiddenLines;
      block.hidden = shown === 0;
      // Without wrapping, a block is exactly as high before somebody has seen it.
      block.style.containIntrinsicSize = `auto 1px auto ${shown}lh`;
    };
    const filter = (line) => {
      const hide = wanted !== "" && !line.textContent.toLowerCase().includes(wanted);
      line.hidden = hide;
      return hide;
    };
    const showCount = () => {
      let shown = lines;
      for (const block of all(".lines", log)) shown -= block.hiddenLines;
      write(count, wanted ? `${shown.toLocaleString()} of ${lines.toLocaleString()} lines` : "");
    };
    const stay = () => {
      if (stick?.checked) log.scrollTop = log.scrollHeight;
      top = log.scrollTop;
    };

    const append = () => {
      frame = 0;
      if (isOld) {
        log.replaceChildren();
        lines = 0;
        isOld = false;
      }
      const texts = queue.length > MOST ? queue.slice(-MOST) : queue;
      queue = [];
      for (let start = 0; start < texts.length;) {
        let block = log.lastElementChild;
        if (!block || block.childElementCount >= BLOCK) {
          block = document.createElement("div");
          block.className = "lines";
          block.hiddenLines = 0;
          log.append(block);
        }
        const part = document.createDocumentFragment();
        const end = Math.min(texts.length, start + BLOCK - block.childElementCount);
        for (; start < end; start += 1) {
          const line = document.createElement("div");
          line.textContent = texts[start];
          block.hiddenLines += filter(line);
          lines += 1;
          part.append(line);
        }
        block.append(part);
        size(block);
      }
      while (lines > MOST) {
        const first = log.firstElementChild;
        lines -= first.childElementCount;
        if (!stick?.checked) log.scrollTop -= first.offsetHeight;
        first.remove();
      }
      showCount();
      stay();
    };

    const open = () => {
      if (stream || document.hidden) return;
      stream = new EventSource(log.dataset.follow);
      // It begins with the last lines again.
      stream.onopen = () => { isOld = true; queue = []; };
      stream.onmessage = ({ data }) => {
        alive();
        queue = queue.concat(JSON.parse(data).lines ?? []);
        frame ||= requestAnimationFrame(append);
      };
      stream.addEventListener("last", () => {
        hasEnded = true;
        close();
      });
      stream.onerror = () => {
        if (stream?.readyState !== EventSource.CLOSED) return broken();
        close();
        if (kept("sessionStorage", "reloaded") !== location.href) return reload();
        broken();
        setTimeout(open, 3000);
      };
    };
    const close = () => {
      stream?.close();
      stream = undefined;
    };
    on("visibilitychange", () => {
      if (document.hidden) close();
      else if (!hasEnded) open();
    });
    on("scroll", () => {
      const isEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 8;
      if (stick && log.scrollTop < top - 2 && !isEnd) stick.checked = false;
      else if (stick && log.scrollTop > top + 2 && isEnd) stick.checked = true;
      top = log.scrollTop;
    }, log);
    stick && on("change", stay, stick);
    // The last lines first, which are the ones that are seen, and few at a time.
    let typed;
    let left = [];
    const filterSome = () => {
      for (const block of left.splice(-20)) {
        block.hiddenLines = 0;
        for (const line of block.children) block.hiddenLines += filter(line);
        size(block);
      }
      showCount();
      stay();
      if (left.length > 0) requestAnimationFrame(filterSome);
    };
    search && on("input", () => {
      clearTimeout(typed);
      typed = setTimeout(() => {
        wanted = search.value.trim().toLowerCase();
        const isIdle = left.length === 0;
        left = [...all(".lines", log)];
        if (isIdle) filterSome();
      }, 150);
    }, search);
    open();
  };
  all(".log[data-follow]").forEach(follow);
})();
